-- The replica identity of the table, or of each leaf of a partitioned one, with the columns that its old rows carry.
SELECT
    c.oid,
    n.nspname::text,
    c.relname::text,
    c.relreplident::text,
    ARRAY(
        SELECT a.attname::text
        FROM pg_catalog.pg_index AS i
        CROSS JOIN pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = c.oid
          AND k.place <= i.indnkeyatts
          AND (
              c.relreplident = 'd' AND i.indisprimary AND i.indimmediate
              OR c.relreplident = 'i' AND i.indisreplident
          )
    )
FROM (
    SELECT $1::oid AS relid
    UNION
    SELECT p.relid FROM pg_catalog.pg_partition_tree($1::oid::regclass) AS p WHERE p.isleaf
) AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r'
ORDER BY c.oid
