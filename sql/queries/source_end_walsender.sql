-- Ends a process ($1) if it still is the one that reads the slot ($2).
SELECT pg_catalog.pg_terminate_backend(s.active_pid)
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = $2
  AND s.active_pid = $1
