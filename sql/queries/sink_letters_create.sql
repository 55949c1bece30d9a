CREATE TABLE {{.Letters}} PARTITION OF {{.Schema}}.dead_letter FOR VALUES IN ({{.Pipeline}})
