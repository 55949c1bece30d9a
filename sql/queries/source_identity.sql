-- Which history this is: the data's identifier, and the timeline, which a promotion or a restore changes.
SELECT
    (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
    CASE
        WHEN pg_catalog.pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())
        ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int
    END,
    pg_catalog.pg_is_in_recovery()
