-- Whether the roles of their owners are ours, of publication ($1) and table ($2), the table's owner, and how many other tables are published.
SELECT
    coalesce((SELECT pg_catalog.pg_has_role(p.pubowner, 'USAGE') FROM pg_catalog.pg_publication AS p WHERE p.pubname = $1), false),
    coalesce((SELECT o.rolname::text FROM pg_catalog.pg_publication AS p JOIN pg_catalog.pg_roles AS o ON o.oid = p.pubowner WHERE p.pubname = $1), ''),
    pg_catalog.pg_has_role(c.relowner, 'USAGE'),
    pg_catalog.pg_get_userbyid(c.relowner)::text,
    c.relkind = 'p',
    (
        SELECT pg_catalog.count(*)::int
        FROM pg_catalog.pg_publication_tables AS t
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.schemaname
        JOIN pg_catalog.pg_class AS o ON o.relnamespace = n.oid AND o.relname = t.tablename
        WHERE t.pubname = $1 AND o.oid <> c.oid
    )
FROM pg_catalog.pg_class AS c
WHERE c.oid = $2
