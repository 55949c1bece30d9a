-- A plain select over one table, so that ORDER BY embedding <=> $1 LIMIT k on the view uses the table's index.
CREATE OR REPLACE VIEW {{.View}} AS
SELECT {{.Columns ""}}, embedding, updated_at
FROM {{.Vectors}}
