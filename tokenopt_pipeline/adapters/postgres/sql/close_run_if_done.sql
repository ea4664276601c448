-- Completes an open run all of whose blocks are decided and ended.
update run r set state = 'complete', ended_at = %(now)s
where r.run_no = %(run_no)s and r.state = 'open'
  and r.n_blocks = (select count(*) from overlay o where o.run_no = r.run_no
                    and o.status in ('skipped', 'ai_complete', 'failed', 'confirmed'))
