-- The roles that were given rights on a pipeline's ledger ($1, $2), whether they may write it, and what else they have: on other ledgers of the schema, on the view
-- ($3, $4), and on anything else in the view's schema.
SELECT
    r.rolname::text,
    EXISTS (SELECT FROM pg_catalog.aclexplode(l.relacl) AS x WHERE x.grantee = r.oid AND x.privilege_type = 'UPDATE'),
    coalesce((
        SELECT CASE WHEN pg_catalog.bool_or(x.privilege_type = 'UPDATE') THEN 'write' ELSE 'read' END
        FROM pg_catalog.pg_class AS o, pg_catalog.aclexplode(o.relacl) AS x
        WHERE
            o.relnamespace = l.relnamespace AND pg_catalog.starts_with(o.relname::text, 'ledger_') AND o.relkind = 'r' AND o.oid <> l.oid
            AND x.grantee = r.oid
        HAVING pg_catalog.count(*) > 0
    ), 'nothing'),
    EXISTS (
        SELECT FROM pg_catalog.pg_class AS v
        JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
        CROSS JOIN LATERAL pg_catalog.aclexplode(v.relacl) AS x
        WHERE n.nspname = $3 AND v.relname = $4 AND x.grantee = r.oid
    ),
    EXISTS (
        SELECT FROM pg_catalog.pg_class AS v
        JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
        LEFT JOIN LATERAL pg_catalog.aclexplode(v.relacl) AS x ON true
        WHERE n.nspname = $3 AND v.relname <> $4 AND (x.grantee = r.oid OR v.relowner = r.oid)
    )
FROM pg_catalog.pg_class AS l
JOIN pg_catalog.pg_namespace AS n ON n.oid = l.relnamespace
JOIN pg_catalog.pg_roles AS r ON r.oid IN (SELECT x.grantee FROM pg_catalog.aclexplode(l.relacl) AS x WHERE x.grantee <> l.relowner)
WHERE n.nspname = $1 AND l.relname = $2
ORDER BY r.rolname
