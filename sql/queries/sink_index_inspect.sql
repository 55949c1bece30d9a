-- The HNSW indexes of a table's vectors that searches can use, whatever their names, a valid one first: not those of an expression, of a part of
-- the rows, or by another distance. A build shows to other roles by its lock alone, and does not show of what kind it is.
SELECT
    c.relname, i.indisvalid, pg_catalog.pg_relation_size(c.oid),
    EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.relid = t.oid),
    EXISTS (
        SELECT FROM pg_catalog.pg_locks AS k
        WHERE
            k.locktype = 'advisory' AND k.classid = $2::bigint::oid AND k.objid = $3::bigint::oid AND k.objsubid = 2
            AND k.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
    )
FROM (SELECT $1::text::regclass AS oid) AS t
LEFT JOIN (
    pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_am AS a ON a.oid = c.relam AND a.amname = 'hnsw'
    JOIN pg_catalog.pg_opclass AS o ON o.oid = i.indclass[0] AND o.opcname = $4
    JOIN pg_catalog.pg_attribute AS e ON e.attrelid = i.indrelid AND e.attnum = i.indkey[0] AND e.attname = 'embedding'
) ON i.indrelid = t.oid AND i.indpred IS NULL
ORDER BY i.indisvalid DESC NULLS LAST, c.relname
