-- What a role ($5) was given, and by whom: to read columns ($3) of a table ($1, $2), and to call a function ($4, its name with schema, quoted; NULL for none).
-- A REVOKE takes what its own role gave, and says nothing of the rest.
SELECT t.right_name, t.thing, pg_catalog.pg_get_userbyid(t.grantor)::text
FROM (
    SELECT
        pg_catalog.format('%s (%I)', x.privilege_type, a.attname) AS right_name, pg_catalog.format('TABLE %I.%I', n.nspname, c.relname) AS thing,
        x.grantor, x.grantee
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS x
    WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = ANY ($3::text[]) AND x.privilege_type = 'SELECT'
    UNION ALL
    SELECT x.privilege_type, pg_catalog.format('FUNCTION %I.%I()', n.nspname, f.proname), x.grantor, x.grantee
    FROM pg_catalog.pg_proc AS f
    JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(f.proacl) AS x
    WHERE f.oid = pg_catalog.to_regprocedure($4 || '()')
) AS t
JOIN pg_catalog.pg_roles AS r ON r.oid = t.grantee
WHERE r.rolname = $5
ORDER BY 2, 1, 3
