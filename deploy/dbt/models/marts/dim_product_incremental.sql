{# Every run deletes and inserts the rows that changed, in place. Rows leave it by their deleted mark alone. #}
{{ config(materialized='incremental', unique_key='product_id', incremental_strategy='delete+insert') }}

select product_id, name, brand, category, description, price, deleted, updated_at
from {{ source('raw', 'product') }}
{% if is_incremental() %}
where updated_at > (select coalesce(max(updated_at), '-infinity') from {{ this }})
{% endif %}
