-- The roles that an older version gave rights on all tables of the schema ($1), for each pipeline.
SELECT p.name, r.rolname::text, pg_catalog.bool_or(x.privilege_type = 'INSERT')
FROM {{.Schema}}.pipeline AS p
JOIN pg_catalog.pg_class AS l ON l.oid = pg_catalog.to_regclass(pg_catalog.format('%I.ledger_%s', $1::text, p.name))
CROSS JOIN LATERAL pg_catalog.aclexplode(l.relacl) AS x
JOIN pg_catalog.pg_roles AS r ON r.oid = x.grantee
WHERE
    x.grantee <> l.relowner AND x.privilege_type IN ('SELECT', 'INSERT')
    AND EXISTS (
        SELECT FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS y
        WHERE c.relnamespace = l.relnamespace AND c.relname = 'pipeline' AND y.grantee = x.grantee AND y.privilege_type = 'SELECT'
    )
GROUP BY p.name, r.rolname
ORDER BY p.name, r.rolname
