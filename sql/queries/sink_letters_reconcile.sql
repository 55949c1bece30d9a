-- Every letter of the generation whose row has gone, or has another text. A row that the ledger cannot have ($4 begins its letter's reason) is there
-- as long as what was read of it is of after ($2, $3).
DELETE FROM {{.Letters}} AS d
WHERE
    d.pipeline = $1 AND d.generation = {{.Generation}}
    AND NOT (starts_with(d.reason, $4::text) AND (d.epoch, d.lsn) > ($2::bigint, $3::pg_lsn))
    AND NOT EXISTS (
        SELECT FROM {{.Ledger}} AS l
        WHERE {{.Holds "l" "d.key"}} AND l.failed_at IS NOT NULL AND l.{{.Hash}} = d.text_hash
    )
