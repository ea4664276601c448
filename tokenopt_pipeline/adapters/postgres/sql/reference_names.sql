-- Every registered reference, by name.
select name from reference order by name
