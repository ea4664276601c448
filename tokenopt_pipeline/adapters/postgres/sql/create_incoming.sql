create temporary table incoming_result (position int not null, custom_id text, line text) on commit drop
