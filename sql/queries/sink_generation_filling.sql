-- Whether the job that fills a generation, the last of several, is open, and whether it was given up. A job that began after it and saw every
-- row makes up for it, as every job writes all generations.
SELECT
    b.open,
    b.outcome IS NOT DISTINCT FROM 'expired'
    AND NOT EXISTS (SELECT FROM {{.Schema}}.backfill AS l WHERE l.pipeline = b.pipeline AND l.id > b.id AND l.outcome = 'swept')
FROM {{.Schema}}.backfill AS b
WHERE b.pipeline = $1 AND b.generation = $2
ORDER BY b.id DESC
LIMIT 1
