-- intended → submitted, under the provider's id.
update batch set state = 'submitted', batch_id = %(batch_id)s, submitted_at = %(now)s, is_adopted = %(is_adopted)s,
  look_at = %(look_at)s, unseen_since = null, problem = null
where batch_no = %(batch_no)s and state = 'intended'
