-- The collection's number.
select collection_no from collection where name = %(name)s
