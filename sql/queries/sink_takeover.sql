UPDATE {{.Schema}}.pipeline
SET owner = $2
WHERE name = $1 AND watermark IS NOT NULL AND epoch = $3
RETURNING epoch, watermark, generations, slot <> ''
