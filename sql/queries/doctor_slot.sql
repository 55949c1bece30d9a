-- What else there is to know of a slot, and the name of the program that reads it; empty where this role may not see it.
SELECT
    s.temporary, s.two_phase, coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn), 0)::bigint,
    coalesce((SELECT a.application_name FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = s.active_pid), '')
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = $1
