-- The end of the log, the clock and the slot, in one row also when there is no such slot. The position is the flushed one: nothing
-- behind it can be streamed. Columns that not every version has are read through jsonb: invalidation_reason came with version 17,
-- conflicting with 16.
SELECT
    (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
    pg_catalog.clock_timestamp(),
    w.flushed::text,
    s.slot_name IS NOT NULL,
    coalesce(s.active, false),
    coalesce(s.wal_status, ''),
    s.safe_wal_size,
    coalesce(pg_catalog.pg_wal_lsn_diff(w.flushed, s.restart_lsn), 0)::bigint,
    s.confirmed_flush_lsn::text,
    coalesce(
        pg_catalog.to_jsonb(s) ->> 'invalidation_reason',
        CASE WHEN pg_catalog.to_jsonb(s) ->> 'conflicting' = 'true' THEN 'conflict with recovery' END,
        ''
    )
FROM (
    SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_flush_lsn() END
) AS w (flushed)
LEFT JOIN pg_catalog.pg_replication_slots AS s ON s.slot_name = $1
