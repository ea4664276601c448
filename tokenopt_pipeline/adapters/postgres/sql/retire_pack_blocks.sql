-- The pack's blocks are free for other packs.
update pack_block set is_live = false where pack_no = %(pack_no)s and is_live
