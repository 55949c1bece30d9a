-- Names of slots are the server's: another database may have one of this name.
SELECT pg_catalog.pg_drop_replication_slot(slot_name)
FROM pg_catalog.pg_replication_slots
WHERE slot_name = $1 AND database = pg_catalog.current_database() AND plugin = 'pgoutput'
