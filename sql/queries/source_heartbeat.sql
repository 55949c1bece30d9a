-- No session waits for a standby on its account.
SELECT
    pg_catalog.set_config('synchronous_commit', 'local', true),
    CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_logical_emit_message(true, 'wal2vec', 'heartbeat') END
