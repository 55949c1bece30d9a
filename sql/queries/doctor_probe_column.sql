-- A column of table $1 that an UPDATE may set to itself, of the key ($2) if possible: an identity column may be one that takes no value.
SELECT a.attname::text
FROM pg_catalog.pg_attribute AS a
WHERE
    a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attgenerated = '' AND a.attidentity <> 'a'
ORDER BY
    pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'UPDATE') DESC,
    a.attname = ANY($2::text[]) DESC,
    a.attnum
LIMIT 1
