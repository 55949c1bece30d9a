SELECT {{join .Key ", "}}
FROM {{.Table}} TABLESAMPLE SYSTEM ({{.Percent}})
ORDER BY pg_catalog.random()
LIMIT {{.Limit}}
