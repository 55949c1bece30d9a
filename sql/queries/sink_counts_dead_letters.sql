SELECT count(DISTINCT key)
FROM {{.Letters}}
WHERE pipeline = $1
