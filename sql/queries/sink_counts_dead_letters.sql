SELECT count(*)
FROM {{.Schema}}.dead_letter
WHERE pipeline = $1
