-- The reference of a name: its number, the digest of its sources and how long it is whole.
select r.reference_no, r.sources_digest, coalesce(sum(s.n_tokens), 0)::int as n_tokens, count(s.source_name)::int as n_sources
from reference r left join reference_source s using (reference_no)
where r.name = %(name)s
group by r.reference_no
