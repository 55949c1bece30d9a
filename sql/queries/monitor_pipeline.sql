-- Everything about a pipeline that takes no count of rows, as of one snapshot. Of several open backfills the running one counts,
-- then the oldest. A backfill runs while a session holds its lock.
SELECT
    p.slot,
    p.system_id,
    p.epoch,
    p.watermark::text,
    p.partial_until::text,
    p.key_columns,
    g.id,
    g.model,
    g.dimension,
    g.vector_table,
    coalesce(g.hash_column, ''),
    s.oldest_pending,
    extract(epoch FROM clock_timestamp() - s.reported_at)::double precision,
    coalesce(s.gap, ''),
    (SELECT count(DISTINCT d.key) FROM {{.Letters}} AS d WHERE d.pipeline = p.name),
    b.id,
    b.mode,
    b.running,
    b.processed,
    b.cursor,
    b.created_at,
    b.updated_at
FROM {{.Schema}}.pipeline AS p
LEFT JOIN {{.Schema}}.generation AS g ON g.pipeline = p.name AND g.state = 'active'
LEFT JOIN {{.Schema}}.stream_state AS s ON s.pipeline = p.name
LEFT JOIN LATERAL (
    SELECT
        j.id, j.mode, j.processed, j.cursor, j.created_at, j.updated_at,
        EXISTS (
            SELECT FROM pg_catalog.pg_locks AS k
            WHERE
                k.locktype = 'advisory' AND k.objid = (j.id % 2147483647)::oid AND k.objsubid = 2 AND k.granted
                AND k.database = (SELECT c.oid FROM pg_catalog.pg_database AS c WHERE c.datname = current_database())
        ) AS running
    FROM {{.Schema}}.backfill AS j
    WHERE j.pipeline = p.name AND j.open
    ORDER BY running DESC, j.id
    LIMIT 1
) AS b ON true
WHERE p.name = $1
