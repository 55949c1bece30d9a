-- Positions up to the one where the timelines part mean the same on both: everything the sink shows has to lie below it.
UPDATE {{.Schema}}.pipeline
SET epoch = $3, timeline = $5, owner = NULL
WHERE name = $1 AND epoch = $2 AND timeline = $4 AND slot <> '' AND greatest(watermark, partial_until) <= $6::pg_lsn
RETURNING watermark::text
