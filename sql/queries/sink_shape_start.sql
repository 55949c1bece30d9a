INSERT INTO {{.Schema}}.shape (pipeline, marks)
VALUES ($1, $2::jsonb)
ON CONFLICT (pipeline) DO UPDATE
SET marks = excluded.marks
