-- Lets the name point to the document from now on; nothing when it already does.
insert into collection_document (collection_no, source_name, document_no, added_at)
select %(collection_no)s, %(source_name)s, %(document_no)s,
       greatest(%(now)s, (select max(superseded_at) + interval '1 microsecond' from collection_document
                          where collection_no = %(collection_no)s and source_name = %(source_name)s))
on conflict (collection_no, source_name) where superseded_at is null do nothing
