-- One row also when there is no such slot. Columns that not every version has are read through jsonb.
SELECT
    pg_catalog.current_database()::text,
    CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn()::text END,
    s.slot_name IS NOT NULL,
    COALESCE(s.active, false),
    COALESCE(s.active_pid, 0),
    COALESCE(s.plugin::text, ''),
    COALESCE(s.database::text, ''),
    s.restart_lsn::text,
    s.confirmed_flush_lsn::text,
    COALESCE(s.wal_status, ''),
    s.safe_wal_size,
    COALESCE(
        pg_catalog.to_jsonb(s) ->> 'invalidation_reason',
        CASE WHEN pg_catalog.to_jsonb(s) ->> 'conflicting' = 'true' THEN 'conflict with recovery' END,
        ''
    ),
    COALESCE((pg_catalog.to_jsonb(s) ->> 'failover')::boolean, false)
FROM (VALUES ($1::text)) AS wanted (name)
LEFT JOIN pg_catalog.pg_replication_slots AS s ON s.slot_name = wanted.name
