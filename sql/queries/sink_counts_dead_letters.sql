SELECT count(DISTINCT key)
FROM {{.Schema}}.dead_letter
WHERE pipeline = $1
