-- Packs of the run, and those among them that were made by splitting.
select count(*) as packs, count(*) filter (where generation > 0) as split from pack where run_no = %(run_no)s
