-- The row as it is, once more: the log carries it, and triggers of the table run.
UPDATE {{.Table}}
SET {{.Column}} = {{.Column}}
WHERE {{join .Conditions " AND "}}
