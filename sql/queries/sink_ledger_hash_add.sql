-- The texts of another template. A hash is NULL where a row is deleted or was not read since, and empty where it has no text by the
-- template; the rows that are there need no look.
ALTER TABLE {{.Ledger}}
    DROP CONSTRAINT IF EXISTS {{.FirstCheck}},
    ADD COLUMN {{.Hash}} bytea,
    ADD CHECK (length({{.Hash}}) IN (0, 16)) NOT VALID,
    ADD CHECK (NOT deleted OR {{.Hash}} IS NULL) NOT VALID
