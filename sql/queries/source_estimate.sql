-- Whether some relation was never analysed, and about how many rows the others have.
SELECT COALESCE(pg_catalog.bool_or(c.reltuples < 0), false), COALESCE(pg_catalog.sum(GREATEST(c.reltuples, 0)), 0)::bigint
FROM (
    SELECT $1::oid AS relid
    UNION
    SELECT p.relid FROM pg_catalog.pg_partition_tree($1::oid::regclass) AS p WHERE p.isleaf
) AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
WHERE c.relkind = 'r'
