{# Every run builds this table again and renames it into place. It has neither a key nor an index of its own, as most marts do; with
   --vars '{unique_index: true}' it has one, without being a primary key. #}
{{ config(materialized='table', indexes=[{'columns': ['product_id'], 'unique': true}] if var('unique_index', false) else []) }}

select product_id, name, brand, category, description, price, deleted, updated_at
from {{ source('raw', 'product') }}
