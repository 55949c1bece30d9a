-- What a reader of the slot would get up to a position; the slot stays where it is.
SELECT data
FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, $2::pg_lsn, NULL, 'proto_version', '1', 'publication_names', $3)
