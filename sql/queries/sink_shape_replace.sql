UPDATE {{.Schema}}.shape
SET marks = $3::jsonb
WHERE pipeline = $1 AND marks = $2::jsonb
