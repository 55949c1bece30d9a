-- OFFSET keeps the lengths from being worked out once for each mention.
SELECT {{.Sent}}
FROM (
    SELECT {{.Row}}
    FROM (
        SELECT DISTINCT *
        FROM ROWS FROM ({{join .Arrays ", "}}) AS k ({{join .Wanted ", "}})
    ) AS wanted
    JOIN {{.Table}} AS t ON {{join .Conditions " AND "}}
    OFFSET 0
) AS read
