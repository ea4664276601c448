-- The probes of a reference in their order.
select query, relevant from reference_probe where reference_no = %(reference_no)s order by position
