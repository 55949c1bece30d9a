CREATE INDEX {{.VectorsIndex}} ON {{.Vectors}}
USING hnsw (embedding {{.Extension}}.{{.OperatorClass}}) WITH (m = 16, ef_construction = 64)
