-- The table has no primary key: where a publication is of all tables and sink and source are one database, its DELETEs would be refused.
ALTER TABLE {{.Letters}} REPLICA IDENTITY FULL
