-- A document of the run and the ordinal of its first block.
insert into run_document (run_no, document_no, first_ordinal) values (%(run_no)s, %(document_no)s, %(first_ordinal)s)
