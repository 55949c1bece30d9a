-- A row that is live and has the vector of its text.
SELECT ARRAY[{{join .Keys ", "}}]
FROM {{.Vectors}} AS v
JOIN {{.Ledger}} AS l USING ({{join .Names ", "}})
WHERE v.text_hash = l.{{.Hash}}
LIMIT 1
