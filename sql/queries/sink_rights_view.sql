-- The statements that let the roles that may read the ledger ($1, $2) read the view ($3, $4).
SELECT s.statement
FROM pg_catalog.pg_class AS l
JOIN pg_catalog.pg_namespace AS n ON n.oid = l.relnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(l.relacl) AS x
JOIN pg_catalog.pg_roles AS r ON r.oid = x.grantee
CROSS JOIN LATERAL (
    VALUES (pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', $3::text, r.rolname)),
        (pg_catalog.format('GRANT SELECT ON TABLE %I.%I TO %I', $3::text, $4::text, r.rolname))
) AS s (statement)
WHERE n.nspname = $1 AND l.relname = $2 AND x.grantee <> l.relowner AND x.privilege_type = 'SELECT'
ORDER BY r.rolname
