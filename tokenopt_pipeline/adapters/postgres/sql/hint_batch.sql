-- The provider says that something became of a batch: it is looked at next.
update batch set look_at = %(now)s
where split_part(model, '/', 1) = %(provider)s and batch_id = %(batch_id)s and state = 'submitted' and look_at > %(now)s
