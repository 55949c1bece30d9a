-- The same slot and watermark, another table: the process that streamed the old one is fenced.
UPDATE {{.Schema}}.pipeline
SET epoch = $3, source_oid = $6, owner = NULL
WHERE name = $1 AND epoch = $2 AND owner = $4 AND source_oid = $5 AND slot <> '' AND watermark >= $7::pg_lsn
RETURNING watermark::text
