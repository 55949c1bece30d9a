INSERT INTO {{.Schema}}.pipeline (
    name, system_id, timeline, slot, slot_name, publication, source_schema, source_table, source_oid, key_columns, key_types
) VALUES (
    {{.Name}}, {{.SystemID}}, {{.Timeline}}, {{.Slot}}, {{.Slot}}, {{.Publication}}, {{.SourceSchema}}, {{.SourceTable}}, {{.SourceOID}},
    ARRAY[{{join .KeyColumns ", "}}], ARRAY[{{join .KeyTypes ", "}}]
)
