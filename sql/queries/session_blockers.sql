-- Whom the session $1, or the sessions of the application $2, wait for, once they have waited $3 seconds: those at the end of each chain, which wait
-- for no lock themselves. A prepared transaction has no process: its number is 0. What another role's session does is not shown to every role.
WITH RECURSIVE waiting AS (
    SELECT k.pid, extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(k.waitstart))::float8 AS seconds
    FROM pg_catalog.pg_locks AS k
    JOIN pg_catalog.pg_stat_activity AS a ON a.pid = k.pid
    WHERE NOT k.granted AND a.datname = pg_catalog.current_database() AND (a.pid = $1 OR a.application_name = $2)
    GROUP BY k.pid
),
held AS (
    SELECT b.pid
    FROM waiting AS w, pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b (pid)
    WHERE w.seconds >= $3
    UNION
    SELECT b.pid
    FROM held AS h, pg_catalog.unnest(pg_catalog.pg_blocking_pids(h.pid)) AS b (pid)
)
SELECT
    h.pid,
    coalesce(a.usename::text, ''),
    coalesce(a.application_name, ''),
    coalesce(a.state, ''),
    coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change), 0)::float8,
    coalesce(a.usename = session_user, false),
    coalesce(a.state LIKE 'idle in transaction%' OR a.wait_event_type = 'Client', false),
    a.backend_start,
    (SELECT pg_catalog.max(w.seconds) FROM waiting AS w)
FROM held AS h
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = h.pid
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_locks AS k WHERE k.pid = h.pid AND NOT k.granted)
ORDER BY a.xact_start NULLS LAST, h.pid
LIMIT 5
