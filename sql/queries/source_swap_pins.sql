-- Keeps the names of these schemas with what has them, up to the end of the transaction; see source_swap_pin.
DO {{.Tag}}
DECLARE
    told CONSTANT text := pg_catalog.current_setting('client_min_messages');
    schema_name text;
BEGIN
    PERFORM pg_catalog.set_config('client_min_messages', 'error', true); -- a role that is not the schema's owner is warned that it takes nothing
    FOREACH schema_name IN ARRAY ARRAY[{{join .SchemaLiterals ", "}}]::text[] LOOP
        {{if .Lenient}}CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_namespace AS n WHERE n.nspname = schema_name);{{end}}
        {{query "source_swap_pin"}}
    END LOOP;
    PERFORM pg_catalog.set_config('client_min_messages', told, true);
END
{{.Tag}}
