-- Tokens of all blocks of the run, by our tokenizer.
select coalesce(sum(b.n_tokens), 0) as tokens
from run_document rd join block b using (document_no) where rd.run_no = %(run_no)s
