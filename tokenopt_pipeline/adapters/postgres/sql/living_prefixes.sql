-- What providers keep for the run now.
select prefix_no, fingerprint, model, name, tokens, expires_at from kept_prefix
where run_no = %(run_no)s and state = 'living' and expires_at > %(now)s order by prefix_no
