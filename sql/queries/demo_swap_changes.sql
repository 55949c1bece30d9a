-- The rows of the new table, those with another text, and those that it has no more.
SELECT
    count(n.product_id),
    count(*) FILTER (WHERE n.description <> o.description),
    count(*) FILTER (WHERE n.product_id IS NULL)
FROM staging_marts.dim_product AS o
LEFT JOIN staging_marts.dim_product__dbt_tmp AS n USING (product_id)
