SELECT key, generation, epoch, lsn, text_hash, reason, attempts, first_at, last_at
FROM {{.Letters}}
WHERE pipeline = $1
ORDER BY last_at DESC, key, generation
LIMIT nullif($2::bigint, 0)
