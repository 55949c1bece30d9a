SELECT generations
FROM {{.Schema}}.pipeline
WHERE name = $1
