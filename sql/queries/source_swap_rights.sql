-- Whether this role may do as the owner of the table ($1) and of the publication ($2) may, who owns the table, and whether the function ($3, its
-- name with schema, quoted) is there for it to call.
SELECT
    COALESCE((SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class AS c WHERE c.oid = $1), false),
    COALESCE((SELECT pg_catalog.pg_has_role(p.pubowner, 'USAGE') FROM pg_catalog.pg_publication AS p WHERE p.pubname = $2), false),
    COALESCE((SELECT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class AS c WHERE c.oid = $1), ''),
    COALESCE(pg_catalog.has_function_privilege(pg_catalog.to_regprocedure($3 || '()'), 'EXECUTE'), false),
    CURRENT_USER::text
