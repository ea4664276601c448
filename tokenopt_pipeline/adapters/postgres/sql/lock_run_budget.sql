-- The run's budget and state; whoever reads it may begin a call before anybody else reads it.
select budget_usd, state, run_id from run where run_no = %(run_no)s for update
