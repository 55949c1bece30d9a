COPY {{.Vectors}} ({{.Columns ""}}, text_hash, embedding)
FROM STDIN (FORMAT binary)
