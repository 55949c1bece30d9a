SELECT
    pg_catalog.current_setting('server_version_num')::int,
    (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
    CASE
        WHEN pg_catalog.pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())
        ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int
    END,
    pg_catalog.pg_is_in_recovery(),
    pg_catalog.current_setting('wal_level'),
    -- PostgreSQL 19 has logical decoding begin with the first logical slot.
    coalesce(pg_catalog.current_setting('effective_wal_level', true), pg_catalog.current_setting('wal_level')),
    (SELECT NULLIF(setting::bigint, -1) * 1048576 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),
    pg_catalog.current_setting('max_replication_slots')::int,
    -- Those of REPACK (CONCURRENTLY) have places of their own (max_repack_replication_slots).
    (SELECT pg_catalog.count(*)::int FROM pg_catalog.pg_replication_slots AS s WHERE s.plugin IS DISTINCT FROM 'pgrepack'),
    (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'),
    pg_catalog.current_database()::text,
    CURRENT_USER::text
