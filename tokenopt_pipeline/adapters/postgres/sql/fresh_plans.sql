-- Lets this transaction plan each statement anew: a plan that was made while a table was empty takes minutes once it is not.
select set_config('plan_cache_mode', 'force_custom_plan', true)
