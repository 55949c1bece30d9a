-- Minus one for a relation that was never analysed.
SELECT COALESCE(pg_catalog.min(LEAST(c.reltuples, 0)), 0)::bigint, COALESCE(pg_catalog.sum(c.reltuples), 0)::bigint
FROM (
    SELECT $1::oid AS relid
    UNION
    SELECT p.relid FROM pg_catalog.pg_partition_tree($1::oid::regclass) AS p WHERE p.isleaf
) AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
WHERE c.relkind = 'r'
