-- Transactions that are older than $1. Those of other roles show to who may read all statistics.
SELECT
    a.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
    extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::double precision
FROM pg_catalog.pg_stat_activity AS a
WHERE
    a.xact_start < pg_catalog.clock_timestamp() - $1::interval AND a.pid <> pg_catalog.pg_backend_pid()
    AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL) AND a.backend_type = 'client backend'
ORDER BY a.xact_start
LIMIT 5
