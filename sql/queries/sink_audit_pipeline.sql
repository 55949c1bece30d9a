SELECT epoch, watermark, coalesce(truncated_epoch, 0), truncated_at, generations
FROM {{.Schema}}.pipeline
WHERE name = $1
