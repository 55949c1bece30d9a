SELECT coalesce(owner = $2 AND epoch = $3 AND watermark = $4::pg_lsn, false)
FROM {{.Schema}}.pipeline
WHERE name = $1
