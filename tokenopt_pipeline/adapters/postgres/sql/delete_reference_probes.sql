-- Forgets the probes of a reference, in the transaction that registers its new ones.
delete from reference_probe where reference_no = %(reference_no)s
