-- The refresh of a swapped table is the stream's own, whatever its policy for gaps.
ALTER TABLE {{.Schema}}.backfill
    ADD COLUMN swap boolean NOT NULL DEFAULT false;
