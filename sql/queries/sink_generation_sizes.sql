-- Rows as the last ANALYZE or CREATE INDEX counted them are not exact: these are.
SELECT (SELECT count(*) FROM {{.Vectors}}), pg_catalog.pg_total_relation_size({{.VectorsName}}::regclass)
