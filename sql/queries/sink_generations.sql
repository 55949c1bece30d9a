SELECT
    id, fingerprint, model, source, template, dimension, storage, precision, precisions, state, vector_table, hash_column,
    created_at, activated_at
FROM {{.Schema}}.generation
WHERE pipeline = $1
ORDER BY id
