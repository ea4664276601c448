-- What the run's searches have embedded, per embedder; dollars are null when one has no known price. A request whose answer
-- was lost may have been billed and counts at its ceiling.
select embedder, count(*) filter (where state = 'answered') as requests, coalesce(sum(texts), 0)::int as texts,
  coalesce(sum(tokens), 0)::int as tokens, coalesce(bool_or(is_counted), false) as is_counted,
  case when bool_or(state <> 'refused' and coalesce(usd, usd_ceiling) is null) then null
       else sum(case when state = 'refused' then 0 else coalesce(usd, usd_ceiling) end) end as usd
from embedding_use where run_no = %(run_no)s
group by embedder order by embedder
