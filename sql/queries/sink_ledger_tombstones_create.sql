-- Neither version column is indexed, so a new version stays heap-only.
CREATE INDEX {{.TombstonesIndex}} ON {{.Ledger}} ({{.Columns ""}}) WHERE deleted
