-- Adds one probe of a reference.
insert into reference_probe (reference_no, position, query, relevant)
values (%(reference_no)s, %(position)s, %(query)s, %(relevant)s)
