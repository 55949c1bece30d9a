-- Whether this role may do as the owner of the table ($1) and of the publication ($2) may, who owns the table, whether the function ($3, its
-- name with schema, quoted) is there for it to call, and what that function is like. One that anybody else has made, or that runs with the
-- caller's rights, is not. Last: whether it runs as its owner, its language, and its settings.
SELECT
    COALESCE((SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class AS c WHERE c.oid = $1), false),
    COALESCE((SELECT pg_catalog.pg_has_role(p.pubowner, 'USAGE') FROM pg_catalog.pg_publication AS p WHERE p.pubname = $2), false),
    COALESCE((SELECT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class AS c WHERE c.oid = $1), ''),
    EXISTS (
        SELECT
        FROM pg_catalog.pg_proc AS f
        JOIN pg_catalog.pg_publication AS p ON p.pubname = $2
        WHERE f.oid = pg_catalog.to_regprocedure($3 || '()')
          AND f.prosecdef
          AND pg_catalog.pg_has_role(f.proowner, p.pubowner, 'USAGE')
          AND pg_catalog.has_function_privilege(f.oid, 'EXECUTE')
    ),
    CURRENT_USER::text,
    COALESCE((SELECT f.prosrc FROM pg_catalog.pg_proc AS f WHERE f.oid = pg_catalog.to_regprocedure($3 || '()')), ''),
    COALESCE((SELECT f.prosecdef FROM pg_catalog.pg_proc AS f WHERE f.oid = pg_catalog.to_regprocedure($3 || '()')), false),
    COALESCE((
        SELECT l.lanname::text
        FROM pg_catalog.pg_proc AS f
        JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang
        WHERE f.oid = pg_catalog.to_regprocedure($3 || '()')
    ), ''),
    COALESCE((SELECT f.proconfig FROM pg_catalog.pg_proc AS f WHERE f.oid = pg_catalog.to_regprocedure($3 || '()')), ARRAY[]::text[])
