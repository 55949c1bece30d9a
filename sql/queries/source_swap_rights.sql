-- Whether this role may do as the owner of the table ($1) and of the publication ($2) may, who owns the table, whether the function ($3, its
-- name with schema, quoted) is there for it to call, and what that function is like. One that anybody else has made, or that runs with the
-- caller's rights, is not. Last: whether it runs as its owner, its language, its settings, its owner, and its object id. The name is looked up once:
-- another function may get it at any moment.
WITH named AS MATERIALIZED (
    SELECT pg_catalog.to_regprocedure($3 || '()')::oid AS oid
), function AS MATERIALIZED (
    SELECT f.oid, f.proowner, f.prosrc, f.prosecdef, f.proconfig, l.lanname
    FROM named AS n
    JOIN pg_catalog.pg_proc AS f ON f.oid = n.oid
    JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang
)
SELECT
    COALESCE((SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class AS c WHERE c.oid = $1), false),
    COALESCE((SELECT pg_catalog.pg_has_role(p.pubowner, 'USAGE') FROM pg_catalog.pg_publication AS p WHERE p.pubname = $2), false),
    COALESCE((SELECT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class AS c WHERE c.oid = $1), ''),
    COALESCE((
        SELECT f.prosecdef AND pg_catalog.pg_has_role(f.proowner, p.pubowner, 'USAGE') AND pg_catalog.has_function_privilege(f.oid, 'EXECUTE')
        FROM pg_catalog.pg_publication AS p
        WHERE p.pubname = $2
    ), false),
    CURRENT_USER::text,
    COALESCE(f.prosrc, ''),
    COALESCE(f.prosecdef, false),
    COALESCE(f.lanname::text, ''),
    COALESCE(f.proconfig, ARRAY[]::text[]),
    COALESCE(pg_catalog.pg_get_userbyid(f.proowner)::text, ''),
    COALESCE(f.oid, 0)
FROM (VALUES (1)) AS one (row)
LEFT JOIN function AS f ON true
