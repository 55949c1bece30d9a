-- Whether every column of a table can be read and written in binary form.
SELECT coalesce(bool_and(t.typsend <> 0 AND t.typreceive <> 0), false)
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
