-- Every word of an index: in how many chunks it stands, in which, and how much of each it is. Both lists are arrays as Postgres
-- sends them, so that a search reads a word's postings in one piece.
create table {words} (lexeme text not null, df int not null, chunk_nos bytea not null, weights bytea not null)
