-- Columns that came with migration 7 are read by name: init looks before it migrates.
SELECT
    system_id, timeline, slot, publication, source_schema, source_table, source_oid, key_columns, key_types,
    epoch, watermark, coalesce(truncated_epoch, 0), truncated_at, partial_until, coalesce(owner, ''), generations,
    coalesce(view_schema, ''), coalesce(view_name, ''), coalesce(pg_catalog.to_jsonb(p) ->> 'slot_name', '')
FROM {{.Schema}}.pipeline AS p
WHERE name = $1
