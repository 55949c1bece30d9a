-- Whether row policies of the table ($1, $2) let this role see every row, and the first one that stands in the way of being sure: a restrictive one, or
-- one that calls a function of another role. A policy for this role (a role that it is a member of, or everybody) with the constant true is enough
-- beside others that give more. In a transaction they then take effect instead of an error (row_security), if the table of that name is one that this
-- session holds a lock on, so that no process can alter its policies before the end of the transaction. The answer is always one row.
SELECT
    coalesce(t.opened, false),
    coalesce(t.hinders, ''),
    pg_catalog.set_config('row_security', CASE WHEN t.opened AND t.hinders IS NULL AND t.locked THEN 'on' ELSE 'off' END, true)
FROM (VALUES (1)) AS always (place)
LEFT JOIN (
    SELECT
        coalesce(pg_catalog.bool_or(p.permissive AND p.all_rows), false) AS opened,
        pg_catalog.min(p.name) FILTER (WHERE NOT p.all_rows AND (NOT p.permissive OR p.calls)) AS hinders,
        EXISTS (
            SELECT
            FROM pg_catalog.pg_locks AS l
            WHERE l.locktype = 'relation' AND l.pid = pg_catalog.pg_backend_pid() AND l.relation = c.oid AND l.granted
        ) AS locked
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT
            y.polname::text AS name,
            y.polpermissive AS permissive,
            pg_catalog.pg_get_expr(y.polqual, y.polrelid) = 'true' AS all_rows,
            EXISTS (
                SELECT
                FROM pg_catalog.pg_depend AS d
                LEFT JOIN pg_catalog.pg_operator AS o ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid
                JOIN pg_catalog.pg_proc AS f
                    ON f.oid = CASE WHEN d.refclassid = 'pg_catalog.pg_proc'::regclass THEN d.refobjid ELSE o.oprcode::oid END
                JOIN pg_catalog.pg_roles AS r ON r.oid = f.proowner
                WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = y.oid AND NOT r.rolsuper AND r.rolname <> SESSION_USER
            ) AS calls
        FROM pg_catalog.pg_policy AS y
        WHERE y.polrelid = c.oid AND y.polcmd IN ('r', '*') AND y.polqual IS NOT NULL AND EXISTS (
            SELECT FROM pg_catalog.unnest(y.polroles) AS g (oid) WHERE g.oid = 0 OR pg_catalog.pg_has_role(g.oid, 'USAGE')
        )
    ) AS p ON true
    WHERE n.nspname = $1 AND c.relname = $2
    GROUP BY c.oid
) AS t ON true
