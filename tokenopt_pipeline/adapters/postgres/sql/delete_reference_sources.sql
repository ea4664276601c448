-- Forgets the sources of a reference, in the transaction that registers its new ones.
delete from reference_source where reference_no = %(reference_no)s
