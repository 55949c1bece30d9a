CREATE SCHEMA IF NOT EXISTS staging_marts;
CREATE TABLE staging_marts.dim_product (
    product_id bigint PRIMARY KEY,
    name text,
    brand text,
    category text,
    description text,
    price numeric(10, 2),
    deleted boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now()
);
