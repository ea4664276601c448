-- Packs of the run, and those among them that were made by splitting.
select count(*) as packs, count(*) filter (where cause = 'split') as split from pack where run_no = %(run_no)s
