SELECT {{.Texts "l"}}
FROM {{.Ledger}} AS l TABLESAMPLE SYSTEM ($1)
WHERE NOT l.deleted
ORDER BY random()
LIMIT $2
