ALTER TABLE {{.Ledger}}
    DROP COLUMN {{.Hash}}
