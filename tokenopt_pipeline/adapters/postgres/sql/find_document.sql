-- A stored document by its content.
select document_no, n_blocks from document where document_id = %(document_id)s
