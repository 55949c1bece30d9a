-- Slots that no process reads and for which the server keeps more than $2 bytes of log.
SELECT s.slot_name::text, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint
FROM pg_catalog.pg_replication_slots AS s
WHERE
    s.slot_name <> $1 AND NOT s.active AND s.restart_lsn IS NOT NULL
    AND pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn) > $2
ORDER BY 2 DESC, 1
LIMIT 5
