-- What is known stays as it is: only a refresh makes a changed mark the known one. $3 holds the marks that may be added later.
INSERT INTO {{.Schema}}.shape AS s (pipeline, marks)
VALUES ($1, $2::jsonb)
ON CONFLICT (pipeline) DO UPDATE
SET marks = $3::jsonb || s.marks
WHERE NOT s.marks @> ($3::jsonb || s.marks)
