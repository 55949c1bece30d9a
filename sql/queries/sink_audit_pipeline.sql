SELECT epoch, watermark, coalesce(truncated_epoch, 0), truncated_at, generations, coalesce(partial_until, '0/0')
FROM {{.Schema}}.pipeline
WHERE name = $1
