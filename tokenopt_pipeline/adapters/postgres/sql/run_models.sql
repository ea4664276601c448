-- Answered calls of the run by the model that was asked, splits and escalations included.
select model, count(*) as calls from ledger where run_no = %(run_no)s group by model order by model collate "C"
