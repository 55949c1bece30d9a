-- Whether the ledger has the row of an epoch at a position after $2.
SELECT coalesce((
    SELECT l.epoch = $1 AND l.lsn > $2::text::pg_lsn
    FROM {{.Ledger}} AS l
    WHERE {{join .Conditions " AND "}}
), false)
