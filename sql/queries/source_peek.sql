-- What a reader of the slot would get up to a position; the slot stays where it is. A message comes in parts, since it may have a gigabyte and a
-- client's library keeps each row of an answer whole. The reader looks whether the parts come in their order.
SELECT message.number, pg_catalog.length(message.data), pg_catalog.substring(message.data, part.place, 262144)
FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, $2::pg_lsn, NULL, 'proto_version', '1', 'publication_names', $3)
    WITH ORDINALITY AS message(lsn, xid, data, number)
CROSS JOIN LATERAL pg_catalog.generate_series(1, pg_catalog.length(message.data), 262144) AS part(place)
