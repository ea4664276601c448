-- Ids of the provider's batches that are known to be ours, since a moment.
select batch_id from batch
where split_part(model, '/', 1) = %(provider)s and batch_id is not null and intended_at >= %(since)s
