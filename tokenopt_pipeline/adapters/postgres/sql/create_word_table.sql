-- Every word of an index with the number of chunks it stands in, numbered like its postings.
create table {words} as
select lexeme, row_number() over (order by lexeme)::int as word_no, count(*)::int as df
from {chunks} c, unnest(c.terms) t group by lexeme
