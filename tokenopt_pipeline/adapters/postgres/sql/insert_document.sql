-- A document, once; no row when another session has stored the same bytes meanwhile.
insert into document (document_id, source_type, reader_version, title, n_bytes, n_blocks, created_at)
values (%(document_id)s, %(source_type)s, %(reader_version)s, %(title)s, %(n_bytes)s, %(n_blocks)s, %(now)s)
on conflict (document_id) do nothing
returning document_no
