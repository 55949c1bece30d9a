UPDATE {{.Schema}}.generation
SET precisions = precisions || $3::text
WHERE pipeline = $1 AND id = $2 AND NOT $3 = ANY (precisions)
