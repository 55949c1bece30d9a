-- The columns of the table $1.$2 that the role $3 may SELECT by a grant to the column, for each role that gave it; '' for the table's owner, who comes first.
SELECT CASE WHEN g.grantor = c.relowner THEN '' ELSE pg_catalog.pg_get_userbyid(g.grantor)::text END, pg_catalog.array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS g
JOIN pg_catalog.pg_roles AS r ON r.oid = g.grantee
WHERE n.nspname = $1 AND c.relname = $2 AND r.rolname = $3 AND g.privilege_type = 'SELECT'
GROUP BY 1
ORDER BY 1
