-- Chunks that should have a vector and have none.
select count(*) as n from {chunks} where embedding is null
