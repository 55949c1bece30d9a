-- Beside writers. Measured on 50,000 vectors of 384 dimensions it takes as long as without CONCURRENTLY, which would keep a stream waiting.
-- CONCURRENTLY waits for every transaction that is open in the database, which a small table is not worth.
CREATE INDEX {{if .Beside}}CONCURRENTLY {{end}}{{.VectorsIndex}} ON {{.Vectors}}
USING hnsw (embedding {{.Extension}}.{{.OperatorClass}}) WITH (m = 16, ef_construction = 64)
