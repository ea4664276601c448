-- Registers a reference under its name with the digest of its sources as they are now; its number.
insert into reference (name, sources_digest, registered_at) values (%(name)s, %(sources_digest)s, %(now)s)
on conflict (name) do update set sources_digest = excluded.sources_digest, registered_at = excluded.registered_at
returning reference_no
