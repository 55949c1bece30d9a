-- Ends the process $1 if it still is the session that was looked at: its beginning ($2) and application ($3), a role of our own, in a transaction in
-- which the server has been waiting for the client for $4 seconds.
SELECT pg_catalog.pg_terminate_backend(a.pid)
FROM pg_catalog.pg_stat_activity AS a
WHERE
    a.pid = $1 AND a.backend_start = $2 AND a.application_name = $3 AND a.usename = session_user AND a.xact_start IS NOT NULL
    AND (a.state LIKE 'idle in transaction%' OR a.wait_event_type = 'Client')
    AND pg_catalog.clock_timestamp() - a.state_change >= pg_catalog.make_interval(secs => $4)
