-- Tables that wal2vec may follow: logged, not a part of another table, with a unique index and a column of text, in a schema that this role may
-- use. $1 is wal2vec's own schema. The number of rows is the planner's: nothing is counted; NULL where it does not know.
SELECT
    n.nspname::text,
    c.relname::text,
    r.estimate
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT sum(nullif(greatest(l.reltuples, -1), -1))::bigint AS estimate
    FROM pg_catalog.pg_class AS l
    WHERE l.oid = c.oid OR (c.relkind = 'p' AND l.oid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) AS t WHERE t.isleaf))
) AS r
WHERE
    c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
    AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND n.nspname <> $1
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
    AND NOT (c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid))
    AND EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid)
    AND EXISTS (
        SELECT
        FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND y.typcategory = 'S'
    )
ORDER BY r.estimate DESC NULLS LAST, 1, 2
