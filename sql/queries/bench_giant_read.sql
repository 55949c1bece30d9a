-- Words, as many bytes as are asked for, in a column that the template reads. Beside them a row that is written after it.
WITH giant AS (
    UPDATE staging_marts.dim_product
    SET description = repeat('giant row of words ', ($1::bigint / 19)::int)
    WHERE product_id = 1
)
UPDATE staging_marts.dim_product
SET price = price + 1
WHERE product_id = 2
