SELECT epoch, watermark
FROM {{.Schema}}.pipeline
WHERE name = $1 AND watermark IS NOT NULL
