INSERT INTO {{.Schema}}.generation (
    pipeline, id, fingerprint, model, source, template, template_rule, dimension, storage, precision, precisions, state, vector_table, hash_column,
    activated_at
) VALUES (
    {{.Name}}, {{.ID}}, {{.Fingerprint}}, {{.Model}}, {{.Source}}, {{.Template}}, {{.Rule}}, {{.Dimension}}, {{.Storage}}, {{.Precision}},
    ARRAY[]::text[], {{.State}}, {{.Table}}, {{.HashColumn}}, CASE WHEN {{.State}} = 'active' THEN pg_catalog.now() END
)
