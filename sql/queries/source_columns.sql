SELECT
    a.attname::text,
    pg_catalog.format_type(a.atttypid, a.atttypmod),
    a.attnotnull,
    a.attgenerated::text,
    pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = $1
  AND a.attnum > 0
  AND NOT a.attisdropped
ORDER BY a.attnum
