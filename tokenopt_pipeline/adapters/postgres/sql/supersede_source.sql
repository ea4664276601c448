-- Ends the name's current entry unless it already points to these bytes; no row when nothing changed.
update collection_document set superseded_at = greatest(%(now)s, added_at)
where collection_no = %(collection_no)s and source_name = %(source_name)s and superseded_at is null
  and document_no <> %(document_no)s
