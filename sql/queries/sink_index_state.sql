-- The HNSW indexes of a table, whatever their names, and whether one is being built now.
SELECT
    coalesce(bool_or(i.indisvalid), false),
    count(*) > 0,
    EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.relid = $1::regclass)
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
WHERE i.indrelid = $1::regclass AND a.amname = 'hnsw'
