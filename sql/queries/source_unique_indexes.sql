-- Indexes that promise that no two rows share their columns, at every moment: not partial, not deferrable, not on expressions.
SELECT
    ic.relname::text,
    ARRAY(
        SELECT a.attname::text
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.place <= i.indnkeyatts
        ORDER BY k.place
    )
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
WHERE i.indrelid = $1
  AND i.indisunique
  AND i.indimmediate
  AND i.indisvalid
  AND i.indpred IS NULL
  AND i.indexprs IS NULL
ORDER BY i.indisprimary DESC, ic.relname
