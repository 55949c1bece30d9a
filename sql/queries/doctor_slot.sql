-- What else there is to know of a slot, and the name of the program that reads it; empty where this role may not see it. What a version lacks is
-- read as empty.
SELECT
    s.temporary, s.two_phase, coalesce(pg_catalog.pg_wal_lsn_diff(
        CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn
    ), 0)::bigint,
    coalesce((SELECT a.application_name FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = s.active_pid), ''),
    coalesce((pg_catalog.to_jsonb(s) ->> 'synced')::boolean, false), coalesce(pg_catalog.to_jsonb(s) ->> 'slotsync_skip_reason', '')
FROM pg_catalog.pg_replication_slots AS s
WHERE s.slot_name = $1
