-- What tells a function (f, in the schema n, of the language l) apart from any other than ours: a hash of its body and of what the catalogue says of it, without
-- the names of table, owner, publication and columns, which may be any; those of its schema and of itself have to be its own. NULL where it cannot be one of ours.
-- deploy/roles.sql has this text, too.
CASE
    WHEN pg_catalog.strpos(f.prosrc, pg_catalog.chr(7)) = 0 THEN pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
        pg_catalog.concat_ws(
            pg_catalog.chr(10), l.lanname, f.prosecdef, f.prokind, f.prorettype, f.proretset, f.provolatile, f.pronargs, f.proallargtypes, f.probin, f.proconfig,
            pg_catalog.regexp_replace(
                pg_catalog.replace(
                    pg_catalog.replace(
                        pg_catalog.replace(
                            pg_catalog.replace(
                                f.prosrc,
                                'LOCK TABLE ONLY "' || pg_catalog.replace(n.nspname, '"', '""') || '"."' || pg_catalog.replace(pg_catalog.replace(
                                    pg_catalog.substring(f.prosrc, $re$\n    table_name CONSTANT text := '((?:[^'\\]|'')*)';$re$), '''''', ''''
                                ), '"', '""') || '" IN',
                                'LOCK TABLE ONLY ' || pg_catalog.chr(7) || ' IN'
                            ),
                            '    schema_name CONSTANT text := ' || pg_catalog.quote_literal(n.nspname) || ';',
                            '    schema_name CONSTANT text := ' || pg_catalog.chr(7) || ';'
                        ),
                        pg_catalog.quote_literal(
                            'SELECT "' || pg_catalog.replace(n.nspname, '"', '""') || '"."' || pg_catalog.replace(f.proname, '"', '""') || '"()'
                        ),
                        'SELECT ' || pg_catalog.chr(7)
                    ),
                    pg_catalog.quote_literal('"' || pg_catalog.replace(n.nspname, '"', '""') || '"."' || pg_catalog.replace(f.proname, '"', '""') || '"()'),
                    pg_catalog.chr(7)
                ),
                -- Each is one constant, or a list of them.
                $re$(\n    (?:table_name|owner_name|publication_name|key_columns|read_columns|listed_columns) CONSTANT text(?:\[\])? := )$re$
                || $re$(?:(?:'(?:[^'\\]|'')*'|E'(?:[^'\\]|''|\\[^'])*')|NULL::text\[\]$re$
                || $re$|ARRAY\[(?:'(?:[^'\\]|'')*'|E'(?:[^'\\]|''|\\[^'])*')(?:, (?:'(?:[^'\\]|'')*'|E'(?:[^'\\]|''|\\[^'])*'))*\]::text\[\]);$re$,
                $re$\1$re$ || pg_catalog.chr(7) || ';',
                'g'
            )
        ), 'UTF8'
    )), 'hex')
END
