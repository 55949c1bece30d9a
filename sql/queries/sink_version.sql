SELECT epoch, watermark, last_lsn, last_xid, last_committed_at
FROM {{.Schema}}.pipeline
WHERE name = $1 AND watermark IS NOT NULL
