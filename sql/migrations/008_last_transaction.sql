-- The last transaction of the source's log that was written: with it the log is known again after the source came back from an older copy of its
-- disks. All NULL: not known yet. A position without a number: none has come since.
ALTER TABLE {{.Schema}}.pipeline
    ADD COLUMN last_lsn pg_lsn,
    ADD COLUMN last_xid bigint,
    ADD COLUMN last_committed_at timestamptz;
