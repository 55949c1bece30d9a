-- The columns of the table ($1, $2), and the types that they have: two arrays.
SELECT
    coalesce(pg_catalog.array_agg(a.attname::text ORDER BY a.attnum), '{}'),
    coalesce(pg_catalog.array_agg(a.atttypid ORDER BY a.attnum), '{}')
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped
