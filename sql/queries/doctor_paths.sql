-- Whose sessions in this database look for functions in the schemas of wal2vec ($1) because a setting says so, and whose those schemas are: a role's ('' for
-- every one's). And in a schema that is called like the role, as every session does, where one of the pipeline's roles owns it: this one, the one that is
-- named ($2), and the owner of the ledger ($3), where it is here. Left out is a schema of a superuser, and a role that the schema's owner could act as anyway.
SELECT n.nspname::text, o.rolname::text, COALESCE(r.rolname::text, '')
FROM pg_catalog.pg_namespace AS n
JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_roles AS o ON o.oid = CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END AND NOT o.rolsuper
JOIN (
    SELECT s.setrole, pg_catalog.substr(c.setting, 13) AS path
    FROM pg_catalog.pg_db_role_setting AS s
    CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)
    WHERE s.setdatabase IN ('0', (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()))
      AND pg_catalog.starts_with(c.setting, 'search_path=')
    UNION ALL
    SELECT '0', s.reset_val
    FROM pg_catalog.pg_settings AS s
    WHERE s.name = 'search_path' AND s.source IN ('configuration file', 'command line')
    UNION ALL
    SELECT r.oid, '$user' FROM pg_catalog.pg_roles AS r
) AS p ON CASE
    WHEN p.path = '$user' THEN p.setrole = (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = n.nspname) AND (
        o.rolname IN (SESSION_USER, $2) OR EXISTS (
            SELECT
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS ln ON ln.oid = c.relnamespace
            WHERE ln.nspname = ($1::text[])[1] AND c.relname = $3 AND c.relowner = o.oid
        )
    )
    ELSE n.nspname = ANY ($1::text[]) AND EXISTS (SELECT FROM pg_catalog.regexp_split_to_table(p.path, ',') AS x (part) WHERE pg_catalog.btrim(x.part, ' "') = n.nspname)
END
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = p.setrole
WHERE n.nspname <> 'public'
  AND (r.oid IS NULL OR NOT pg_catalog.pg_has_role(o.oid, r.oid, 'MEMBER'))
GROUP BY 1, 2, 3
ORDER BY 1, 3
