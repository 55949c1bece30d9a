-- Whether every row of the source was read since the pipeline was set up. Each job that sweeps has read them all, the build of a generation too;
-- one with a limit and a retry do not sweep. After a TRUNCATE, and after an init that found no row, the stream alone brings every row.
SELECT
    CASE
        WHEN EXISTS (SELECT FROM {{.Schema}}.backfill AS b WHERE b.pipeline = p.name AND b.open AND b.resync) THEN 'refreshing'
        WHEN p.truncated_at IS NOT NULL THEN 'done'
        WHEN EXISTS (SELECT FROM {{.Schema}}.backfill AS b WHERE b.pipeline = p.name AND b.outcome = 'swept') THEN 'done'
        ELSE 'none'
    END
FROM {{.Schema}}.pipeline AS p
WHERE p.name = $1
