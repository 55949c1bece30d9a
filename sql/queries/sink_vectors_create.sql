CREATE TABLE {{.Vectors}} (
{{- range .Keys}}
    {{.Name}} {{.Type}} NOT NULL,
{{- end}}
    text_hash bytea NOT NULL CHECK (pg_catalog.length(text_hash) = 16),
    embedding {{.Storage}} NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
{{- if .Wide}}
    -- A text may fill an index entry of the source: it leaves no room for the hash.
    PRIMARY KEY ({{.Columns ""}})
{{- else}}
    -- With the hash in the index, looking up fresh vectors reads no vector.
    PRIMARY KEY ({{.Columns ""}}) INCLUDE (text_hash)
{{- end}}
)
