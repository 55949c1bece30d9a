-- Whom the session $1, or the sessions of the application $2, wait for, once they have waited $3 seconds: those at the end of each chain, which wait
-- for nothing of this pipeline themselves: what else they wait for is between others, and a client could choose it. A prepared transaction has no process: its number is 0. What another role's session does is not shown to every role.
-- Any client may call itself what it likes. So those of an application are sessions of this role, or of one that may write the ledger ($5) in wal2vec's
-- schema ($4), and wait for a relation in that schema, a row of it, or a transaction that has locked one. Of who is waited for it is told whether it has
-- such a role.
WITH RECURSIVE ledger AS (
    SELECT n.oid AS schema, l.oid
    FROM pg_catalog.pg_namespace AS n
    LEFT JOIN pg_catalog.pg_class AS l ON l.relnamespace = n.oid AND l.relname = $5::text AND l.relkind = 'r'
    WHERE n.nspname = $4::text
),
-- What is locked in the schema. A prepared transaction has no process.
locked AS (
    SELECT coalesce(k.pid, 0) AS pid, k.granted, k.mode
    FROM ledger AS l
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = l.schema
    JOIN pg_catalog.pg_locks AS k ON k.relation = c.oid
    JOIN pg_catalog.pg_database AS d ON d.oid = k.database AND d.datname = pg_catalog.current_database()
),
-- Who waits for a relation in the schema, a row of it, or a transaction that has locked one.
inside AS (
    SELECT DISTINCT k.pid
    FROM pg_catalog.pg_locks AS k
    WHERE
        NOT k.granted
        AND (
            EXISTS (SELECT FROM locked AS w WHERE w.pid = k.pid AND NOT w.granted)
            OR k.locktype IN ('transactionid', 'virtualxid', 'spectoken')
            AND EXISTS (SELECT FROM locked AS w WHERE w.pid = k.pid AND w.granted)
            AND EXISTS (
                SELECT FROM locked AS w WHERE w.pid = ANY (pg_catalog.pg_blocking_pids(k.pid)) AND w.granted AND w.mode <> 'AccessShareLock'
            )
        )
),
waiting AS (
    SELECT k.pid, extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.min(k.waitstart))::float8 AS seconds
    FROM pg_catalog.pg_locks AS k
    JOIN pg_catalog.pg_stat_activity AS a ON a.pid = k.pid
    WHERE
        NOT k.granted AND a.datname = pg_catalog.current_database()
        AND (
            a.pid = $1
            OR a.application_name = $2
            AND (a.usename = session_user OR coalesce((SELECT pg_catalog.has_table_privilege(a.usesysid, l.oid, 'UPDATE') FROM ledger AS l), false))
            AND EXISTS (SELECT FROM inside AS i WHERE i.pid = k.pid)
        )
    GROUP BY k.pid
),
held AS (
    SELECT b.pid
    FROM waiting AS w, pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b (pid)
    WHERE w.seconds >= $3
    UNION
    SELECT b.pid
    FROM held AS h
    JOIN inside AS i ON i.pid = h.pid
    CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(h.pid)) AS b (pid)
)
SELECT
    h.pid,
    coalesce(a.usename::text, ''),
    coalesce(a.application_name, ''),
    coalesce(a.state, ''),
    coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change), 0)::float8,
    coalesce(a.usename = session_user, false),
    coalesce((SELECT pg_catalog.has_table_privilege(a.usesysid, l.oid, 'UPDATE') FROM ledger AS l), false),
    coalesce(a.state LIKE 'idle in transaction%' OR a.wait_event_type = 'Client', false),
    a.backend_start,
    (SELECT pg_catalog.max(w.seconds) FROM waiting AS w)
FROM held AS h
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = h.pid
WHERE NOT EXISTS (SELECT FROM inside AS i WHERE i.pid = h.pid)
ORDER BY a.xact_start NULLS LAST, h.pid
LIMIT 5
