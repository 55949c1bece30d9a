-- As bench_giant_read, in the column that no template reads.
WITH giant AS (
    UPDATE staging_marts.dim_product
    SET attachment = repeat('giant row of words ', ($1::bigint / 19)::int), name = name || '.'
    WHERE product_id = 3
)
UPDATE staging_marts.dim_product
SET price = price + 1
WHERE product_id = 2
