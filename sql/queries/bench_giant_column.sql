-- No template reads it.
ALTER TABLE staging_marts.dim_product ADD COLUMN attachment text
