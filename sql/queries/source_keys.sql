-- The columns of each index that promises that no two rows share them, as source_unique_indexes has it, the most fitting for a key first: the one
-- that the log's old rows hold, the primary key, then the narrowest.
SELECT
    k.columns
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
CROSS JOIN LATERAL (
    SELECT ARRAY(
        SELECT a.attname::text
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS u (attnum, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = u.attnum
        WHERE u.place <= i.indnkeyatts
        ORDER BY u.place
    ) AS columns
) AS k
WHERE i.indrelid = $1
  AND i.indisunique
  AND i.indimmediate
  AND i.indisvalid
  AND i.indpred IS NULL
  AND i.indexprs IS NULL
ORDER BY i.indisreplident DESC, i.indisprimary DESC, i.indnkeyatts, ic.relname
