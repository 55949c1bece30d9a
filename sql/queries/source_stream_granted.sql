-- What a role ($4) was given for a stream: the columns of the table ($1, $2) that its owner lets it read one by one, whether that owner is this
-- role's to act for, whether it may call the function ($3, its name with schema, quoted; NULL where that is another pipeline's), what the functions
-- of other pipelines do that it may call beside it, and whether there is one. Any role can make a function of such a name somewhere, with a body as ours
-- have it: one that tells something runs as its owner, who has the rights of the table's, and stands beside the table.
SELECT
    ARRAY(
        SELECT a.attname::text
        FROM pg_catalog.pg_attribute AS a
        CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS g
        WHERE a.attrelid = c.oid
          AND NOT a.attisdropped
          AND g.grantee = r.oid
          AND g.grantor = c.relowner
          AND g.privilege_type = 'SELECT'
        ORDER BY a.attnum
    ),
    COALESCE(pg_catalog.pg_has_role(c.relowner, 'USAGE'), false),
    EXISTS (
        SELECT
        FROM pg_catalog.pg_proc AS f
        CROSS JOIN LATERAL pg_catalog.aclexplode(f.proacl) AS g
        WHERE f.oid = pg_catalog.to_regprocedure($3 || '()')
          AND g.grantee = r.oid
          AND g.grantee <> f.proowner
          AND f.prosecdef
          AND pg_catalog.pg_has_role(f.proowner, c.relowner, 'USAGE')
    ),
    ARRAY(
        SELECT f.prosrc
        FROM pg_catalog.pg_proc AS f
        JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
        CROSS JOIN LATERAL pg_catalog.aclexplode(f.proacl) AS g
        WHERE n.nspname = $1
          AND pg_catalog.starts_with(f.proname::text, 'wal2vec_follow_')
          AND f.oid IS DISTINCT FROM pg_catalog.to_regprocedure($3 || '()')
          AND g.grantee = r.oid
          AND f.prosecdef
          AND pg_catalog.pg_has_role(f.proowner, c.relowner, 'USAGE')
    ),
    EXISTS (
        SELECT
        FROM pg_catalog.pg_proc AS f
        CROSS JOIN LATERAL pg_catalog.aclexplode(f.proacl) AS g
        WHERE pg_catalog.starts_with(f.proname::text, 'wal2vec_follow_')
          AND f.oid IS DISTINCT FROM pg_catalog.to_regprocedure($3 || '()')
          AND g.grantee = r.oid
          AND f.prosecdef
          AND f.pronamespace = c.relnamespace
          AND pg_catalog.pg_has_role(f.proowner, c.relowner, 'USAGE')
    )
FROM pg_catalog.pg_roles AS r
LEFT JOIN (
    pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS cn ON cn.oid = c.relnamespace AND cn.nspname = $1
) ON c.relname = $2 AND c.relkind IN ('r', 'p')
WHERE r.rolname = $4
