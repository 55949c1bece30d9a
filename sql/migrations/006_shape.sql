-- What decides, besides the rows, which rows the source table has and what they print as: a change of it is not in the log.
CREATE TABLE {{.Schema}}.shape (
    pipeline text PRIMARY KEY REFERENCES {{.Schema}}.pipeline,
    marks jsonb NOT NULL
);
