-- Retired indexes of a reference but the newest, which a search may still be reading.
select index_no from reference_index
where reference_no = %(reference_no)s and state = 'retired'
order by index_no desc offset 1
