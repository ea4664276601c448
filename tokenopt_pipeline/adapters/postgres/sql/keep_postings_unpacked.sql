-- Postings are read whole, and numbers pack badly.
alter table {words} alter column chunk_nos set storage external, alter column weights set storage external
