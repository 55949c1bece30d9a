-- Positions of two epochs are not comparable: a job of an older one proves nothing.
UPDATE {{.Schema}}.backfill
SET open = false, outcome = 'new epoch', updated_at = now()
WHERE pipeline = $1 AND open AND started_epoch <> $2
