-- Finds a word's postings, which lie side by side.
create index on {postings} (word_no) include (chunk_no, weight)
