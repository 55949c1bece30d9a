-- Columns that came with migrations 4 and 11 are read by name: init looks before it migrates.
SELECT
    g.id, g.fingerprint, g.model, coalesce(j.row ->> 'source', ''), g.template,
    coalesce((j.row ->> 'template_rule')::integer, 1), g.dimension, g.storage,
    coalesce(j.row ->> 'precision', 'auto'), g.precisions, g.state, g.vector_table,
    coalesce(j.row ->> 'hash_column', 'text_hash'), g.created_at, (j.row ->> 'activated_at')::timestamptz
FROM {{.Schema}}.generation AS g
CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(g) AS row) AS j
WHERE g.pipeline = $1
ORDER BY g.id
