-- The statements that give the roles with rights on the ledger ($1, $2) the same ones on another table of the schema ($3).
SELECT pg_catalog.format('GRANT %s ON TABLE %I.%I TO %I', x.privilege_type, n.nspname, $3::text, r.rolname)
FROM pg_catalog.pg_class AS l
JOIN pg_catalog.pg_namespace AS n ON n.oid = l.relnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(l.relacl) AS x
JOIN pg_catalog.pg_roles AS r ON r.oid = x.grantee
WHERE n.nspname = $1 AND l.relname = $2 AND x.grantee <> l.relowner AND x.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
ORDER BY r.rolname, x.privilege_type
