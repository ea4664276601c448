-- Numbers for that many new packs.
select nextval(pg_get_serial_sequence('pack', 'pack_no')) as pack_no from generate_series(1, %(count)s)
