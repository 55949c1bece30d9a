INSERT INTO {{.Schema}}.generation (
    pipeline, id, fingerprint, model, source, template, dimension, storage, precisions, state, vector_table, hash_column, activated_at
) VALUES (
    {{.Name}}, {{.ID}}, {{.Fingerprint}}, {{.Model}}, {{.Source}}, {{.Template}}, {{.Dimension}}, {{.Storage}}, ARRAY[{{.Precision}}],
    {{.State}}, {{.Table}}, {{.HashColumn}}, CASE WHEN {{.State}} = 'active' THEN now() END
)
