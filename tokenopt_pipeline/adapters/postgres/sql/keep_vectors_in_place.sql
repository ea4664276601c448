-- Vectors are read for every comparison: they stay in their rows, unpacked.
alter table {chunks} alter column embedding set storage plain
