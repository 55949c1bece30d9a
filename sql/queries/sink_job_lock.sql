SELECT 1
FROM {{.Schema}}.backfill
WHERE id = $1 AND token = $2::uuid AND open
FOR UPDATE
