SELECT watermark, partial_until, generations
FROM {{.Schema}}.pipeline
WHERE name = $1
