-- A tombstone goes when the watermark has passed it and no open job can still bring a read from before it.
DELETE FROM {{.Ledger}}
WHERE ctid = ANY (ARRAY(
    SELECT l.ctid
    FROM {{.Ledger}} AS l
    WHERE
        l.deleted
        AND (l.epoch, l.lsn) <= ($2::bigint, $3::pg_lsn)
        AND NOT EXISTS (
            SELECT FROM {{.Schema}}.backfill AS b
            WHERE b.pipeline = $1 AND b.open AND (b.started_epoch, b.started_lsn) < (l.epoch, l.lsn)
        )
    LIMIT $4
))
