-- Of the names $2 in the schema $1 those that exist, and whether each is a table of the role that owns wal2vec's tables.
SELECT c.relname::text, c.relkind = 'r' AND c.relowner = p.relowner, pg_catalog.pg_get_userbyid(c.relowner)::text
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class AS p ON p.relnamespace = n.oid AND p.relname = 'pipeline'
WHERE n.nspname = $1 AND c.relname = ANY ($2)
ORDER BY pg_catalog.array_position($2, c.relname::text)
