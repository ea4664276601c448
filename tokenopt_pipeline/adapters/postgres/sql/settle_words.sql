-- Counts and marks what was just written, so that plans are right and indexes need not look at every row.
vacuum (analyze) {words}
