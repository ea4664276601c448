-- The chunks of an index that are rules, with their triggers.
select chunk_no, source_name, heading, split_part(text, E'\n', 1) as message, trigger
from {chunks} where trigger is not null order by chunk_no
