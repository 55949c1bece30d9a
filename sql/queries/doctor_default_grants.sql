-- What the default privileges of the role that owns wal2vec's tables ($1: their schema) will give to others on what it makes: for which kind of things, in
-- which schema (empty: in all), to whom (empty: PUBLIC). In the view's schema ($2) readers of tables may have SELECT. Superusers, and the role that the
-- settings name ($3), are trusted.
SELECT DISTINCT
    o.rolname::text, CASE d.defaclobjtype WHEN 'n' THEN 'SCHEMAS' WHEN 'r' THEN 'TABLES' ELSE 'SEQUENCES' END, coalesce(s.nspname::text, ''),
    coalesce(r.rolname::text, '')
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
JOIN pg_catalog.pg_default_acl AS d ON d.defaclrole = c.relowner AND d.defaclobjtype IN ('n', 'r', 'S')
LEFT JOIN pg_catalog.pg_namespace AS s ON s.oid = d.defaclnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) AS x
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = x.grantee
WHERE
    n.nspname = $1 AND c.relname = 'pipeline' AND x.grantee <> d.defaclrole AND (s.oid IS NULL OR s.nspname IN ($1, $2))
    AND NOT (s.nspname IS NOT DISTINCT FROM $2 AND $2 <> $1 AND x.privilege_type = 'SELECT') AND NOT coalesce(r.rolsuper OR r.rolname = $3::text, false)
ORDER BY 4, 2, 3
