-- Which of the columns ($2) of the table ($1) the role ($3) may not read.
SELECT a.attname::text
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = $1::oid
  AND a.attname::text = ANY ($2::text[])
  AND NOT a.attisdropped
  AND NOT pg_catalog.has_column_privilege($3::name, a.attrelid, a.attnum, 'SELECT')
ORDER BY a.attnum
