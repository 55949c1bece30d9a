-- Without a lock: a process that closes a job or takes its token holds the pipeline's row alone, and this process shares it.
SELECT 1
FROM {{.Schema}}.backfill
WHERE id = $1 AND token = $2::uuid AND open
