DELETE FROM {{.Vectors}} AS v
USING {{.Ledger}} AS l
WHERE {{.Same "v" "l"}} AND l.deleted
