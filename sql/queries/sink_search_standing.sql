-- Fails with a division by zero where the mark is another than $4, so that the server runs no later
-- statement of the same batch.
SELECT 1 / (m.mark = $4::text)::integer
FROM (
    {{query "sink_search_mark"}}
) AS m
