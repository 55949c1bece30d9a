CREATE TABLE {{.Ledger}} (
{{- range .Keys}}
    {{.Name}} {{.Type}} NOT NULL,
{{- end}}
    epoch bigint NOT NULL,
    lsn pg_lsn NOT NULL,
    text_hash bytea CHECK (pg_catalog.length(text_hash) = 16),
    deleted boolean NOT NULL CHECK (deleted = (text_hash IS NULL)),
    failed_at timestamptz,
    CONSTRAINT {{.LedgerKey}} PRIMARY KEY ({{.Columns ""}})
-- A refresh gives every row a new version at once: with a second row's room for each row that stays heap-only.
) WITH (fillfactor = 45)
