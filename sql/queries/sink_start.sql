UPDATE {{.Schema}}.pipeline
SET
    epoch = $3, slot = $4, watermark = $5::pg_lsn, system_id = $6, timeline = $7, source_oid = $8, owner = NULL, partial_until = NULL,
    last_lsn = $5::pg_lsn, last_xid = NULL, last_committed_at = NULL,
    truncated_epoch = NULL, truncated_at = NULL
WHERE name = $1 AND epoch = $2
