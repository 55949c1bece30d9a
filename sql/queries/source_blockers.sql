SELECT
    a.pid,
    COALESCE(a.usename::text, ''),
    COALESCE(a.application_name, ''),
    COALESCE(a.state, ''),
    COALESCE(EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - a.xact_start), 0)::float8
FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid = ANY (pg_catalog.pg_blocking_pids($1))
ORDER BY a.xact_start
