INSERT INTO {{.Schema}}.generation (pipeline, id, fingerprint, model, template, dimension, storage, precisions, state, vector_table)
VALUES (
    {{.Name}}, {{.ID}}, {{.Fingerprint}}, {{.Model}}, {{.Template}}, {{.Dimension}}, {{.Storage}}, ARRAY[{{.Precision}}], 'active', {{.Table}}
)
