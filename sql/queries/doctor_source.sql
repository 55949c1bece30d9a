-- Settings and counts of the source server; what a version lacks is read as its default. Times are in milliseconds.
SELECT
    (SELECT s.setting::int FROM pg_catalog.pg_settings AS s WHERE s.name = 'max_wal_senders'),
    (SELECT pg_catalog.count(*)::int FROM pg_catalog.pg_stat_replication),
    coalesce((
        SELECT s.setting::bigint * CASE s.unit WHEN 'min' THEN 60000 WHEN 's' THEN 1000 ELSE 1 END
        FROM pg_catalog.pg_settings AS s WHERE s.name = 'idle_replication_slot_timeout'
    ), 0),
    pg_catalog.current_setting('synchronous_standby_names'),
    (SELECT pg_catalog.count(*)::int FROM pg_catalog.pg_stat_replication AS r WHERE r.sync_state IN ('sync', 'quorum')),
    ARRAY(SELECT s.slot_name::text FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_type = 'physical' ORDER BY 1),
    -- Those that something streams from now. Any role with REPLICATION can make a slot, and its state is not shown to every role.
    ARRAY(
        SELECT s.slot_name::text
        FROM pg_catalog.pg_replication_slots AS s
        JOIN pg_catalog.pg_stat_replication AS r ON r.pid = s.active_pid
        WHERE s.slot_type = 'physical' AND coalesce(r.state, 'streaming') = 'streaming'
        ORDER BY 1
    ),
    coalesce(pg_catalog.current_setting('synchronized_standby_slots', true), ''),
    (
        SELECT s.wal_bytes / greatest(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - s.stats_reset), 1)
        FROM pg_catalog.pg_stat_wal AS s
    )::double precision,
    r.rolsuper,
    pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'),
    coalesce((
        SELECT p.rolname::text FROM pg_catalog.pg_roles AS p
        WHERE p.rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin', 'alloydbsuperuser', 'supabase_admin', 'neon_superuser')
        ORDER BY p.rolname
        LIMIT 1
    ), ''),
    (SELECT pg_catalog.count(*)::int FROM pg_catalog.pg_replication_slots AS s WHERE s.plugin = 'pgrepack'),
    coalesce(pg_catalog.current_setting('max_repack_replication_slots', true)::int, 0)
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = current_user
