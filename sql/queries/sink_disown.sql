-- From here on the pipeline names no slot, and no process may write: what becomes of the slot, no process can take it for the pipeline's.
UPDATE {{.Schema}}.pipeline
SET slot = '', owner = NULL
WHERE name = $1 AND epoch = $2
