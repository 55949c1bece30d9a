-- Until the pipeline has started, its names are an intent and may change.
UPDATE {{.Schema}}.pipeline
SET system_id = {{.SystemID}}, timeline = {{.Timeline}}, slot = {{.Slot}}, slot_name = {{.Slot}}, publication = {{.Publication}}, source_oid = {{.SourceOID}}
WHERE name = {{.Name}} AND watermark IS NULL
