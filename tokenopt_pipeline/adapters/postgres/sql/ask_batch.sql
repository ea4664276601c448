-- The provider is about to be asked for an intended batch.
update batch set asked_at = %(now)s where batch_no = %(batch_no)s and state = 'intended' and asked_at is null
