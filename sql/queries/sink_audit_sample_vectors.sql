SELECT {{.Texts "v"}}
FROM {{.Vectors}} AS v TABLESAMPLE SYSTEM ($1)
ORDER BY random()
LIMIT $2
