INSERT INTO {{.Schema}}.backfill (pipeline, mode, row_limit, resync, started_epoch, started_lsn, generation)
VALUES ($1, $2, nullif($3::bigint, 0), $4, $5, $6::pg_lsn, nullif($7::integer, 0))
RETURNING id
