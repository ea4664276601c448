-- The sources of a reference in their order, as a model is shown them.
select source_name, text, n_tokens from reference_source where reference_no = %(reference_no)s order by position
