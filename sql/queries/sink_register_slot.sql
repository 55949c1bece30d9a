-- A pipeline that gave up its slot may take another name for the next one.
UPDATE {{.Schema}}.pipeline
SET slot_name = {{.Slot}}
WHERE name = {{.Name}} AND slot = ''
