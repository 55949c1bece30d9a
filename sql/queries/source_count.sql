SELECT pg_catalog.count(*) FROM {{.Table}}
