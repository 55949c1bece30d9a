-- Relations other than these ($1), their indexes and what holds their long values that this transaction has altered, as their locks show: none where each
-- name meant what was looked at. Those of superusers are left out: what an event trigger writes down belongs to one.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_database AS d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
WHERE l.locktype = 'relation' AND l.granted AND l.pid = pg_catalog.pg_backend_pid() AND c.oid >= 16384 AND NOT o.rolsuper
    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
    AND c.oid <> ALL ($1::oid[])
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indexrelid = c.oid AND i.indrelid = ANY ($1::oid[]))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class AS t WHERE t.oid = ANY ($1::oid[]) AND t.reltoastrelid = c.oid)
ORDER BY 1
