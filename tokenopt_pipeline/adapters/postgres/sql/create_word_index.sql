-- Finds a word by its stem.
create unique index on {words} (lexeme) include (df)
