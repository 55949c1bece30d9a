-- The relations of wal2vec's schema ($1) by name ($2): whether they are there, logged, writable and ours.
SELECT
    w.name,
    c.oid IS NOT NULL,
    coalesce(c.relpersistence = 'p', true),
    coalesce(
        pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
        AND pg_catalog.has_table_privilege(c.oid, 'UPDATE') AND pg_catalog.has_table_privilege(c.oid, 'DELETE'), true
    ),
    coalesce(pg_catalog.pg_has_role(c.relowner, 'USAGE'), true),
    coalesce(pg_catalog.pg_get_userbyid(c.relowner)::text, ''),
    current_user::text
FROM pg_catalog.unnest($2::text[]) WITH ORDINALITY AS w (name, place)
LEFT JOIN (
    pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
) ON c.relname = w.name
ORDER BY w.place
