-- Before the texts of a template go: a row that has no text by any other template is deleted.
UPDATE {{.Ledger}}
SET deleted = true, failed_at = NULL{{range .Hashes}}, {{.}} = NULL{{end}}, {{.Hash}} = NULL
WHERE NOT deleted{{range .Hashes}} AND {{.}} = ''{{end}}
