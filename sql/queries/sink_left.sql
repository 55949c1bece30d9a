-- What a role ($5) was given, and by whom, of tables ($2) of a schema ($1), of the schema itself where $6 says so, and of a view ($3, $4): what a revocation
-- has left. The server gives a warning or nothing where it was another role that gave it.
SELECT t.right_name, t.thing, pg_catalog.pg_get_userbyid(t.grantor)::text
FROM (
    SELECT x.privilege_type AS right_name, pg_catalog.format('TABLE %I.%I', n.nspname, c.relname) AS thing, x.grantor, x.grantee
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS x
    WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) OR n.nspname = $3 AND c.relname = $4
    UNION ALL
    SELECT pg_catalog.format('%s (%I)', x.privilege_type, a.attname), pg_catalog.format('TABLE %I.%I', n.nspname, c.relname), x.grantor, x.grantee
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS x
    WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) OR n.nspname = $3 AND c.relname = $4
    UNION ALL
    SELECT x.privilege_type, pg_catalog.format('SCHEMA %I', n.nspname), x.grantor, x.grantee
    FROM pg_catalog.pg_namespace AS n
    CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS x
    WHERE n.nspname = $1 AND $6::boolean
) AS t
JOIN pg_catalog.pg_roles AS r ON r.oid = t.grantee
WHERE r.rolname = $5
ORDER BY 2, 1, 3
