-- What stood in the file, and what the batch has by now.
select (select count(*) from batch_request where batch_no = %(batch_no)s) as asked,
  (select count(*) from batch_result where batch_no = %(batch_no)s) as found,
  (select count(*) from incoming_result where custom_id is null) as garbled,
  (select count(*) - count(distinct custom_id) from incoming_result i
   where exists (select from batch_request q where q.batch_no = %(batch_no)s and q.custom_id = i.custom_id)) as repeated,
  (select count(*) from incoming_result i where i.custom_id is not null
   and not exists (select from batch_request q where q.batch_no = %(batch_no)s and q.custom_id = i.custom_id)) as unknown
