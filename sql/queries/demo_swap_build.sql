-- As dbt's table model builds it, without keys or indexes: one row in a hundred has another text, one in a thousand is gone.
CREATE TABLE staging_marts.dim_product__dbt_tmp AS
SELECT
    product_id,
    name,
    brand,
    category,
    CASE WHEN product_id % 100 = 1 THEN description || ' Built anew.' ELSE description END AS description,
    price,
    deleted
FROM staging_marts.dim_product
WHERE product_id % 1000 <> 2
