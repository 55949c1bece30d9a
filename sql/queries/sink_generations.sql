SELECT id, fingerprint, model, template, dimension, storage, precisions, state, vector_table
FROM {{.Schema}}.generation
WHERE pipeline = $1 AND state <> 'retired'
ORDER BY id
