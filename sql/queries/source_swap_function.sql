-- Does for its owner, who owns the table and the publication, what wal2vec does where it runs as that owner. It takes no argument, and looks
-- at nothing but the one table and publication; a table of that name that belongs to another owner is left alone. Where it makes an index, it
-- leaves the rest to the next call. Whoever may call it may read the columns that a stream reads, and gets that right on the new table.
-- What the caller could set or hold is taken out of the caller's hands: the settings below, the isolation, and the transaction, which must
-- be the call alone, so that its end gives every lock back. Operators are those of pg_catalog, the only schema that is searched for them.
CREATE OR REPLACE FUNCTION {{.Function}}() RETURNS void
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = {{.LockWait}}
SET default_tablespace = ''
SET standard_conforming_strings = on
AS {{.Tag}}
-- {{.Version}}
DECLARE
    schema_name CONSTANT text := {{.SchemaLiteral}};
    table_name CONSTANT text := {{.TableLiteral}};
    owner_name CONSTANT text := {{.OwnerLiteral}};
    publication_name CONSTANT text := {{.PublicationLiteral}};
    key_columns CONSTANT text[] := ARRAY[{{join .KeyLiterals ", "}}]::text[];
    read_columns CONSTANT text[] := ARRAY[{{join .ReadLiterals ", "}}]::text[];
    -- The publication's list of columns as init found it; NULL without one.
    listed_columns CONSTANT text[] := {{if .ListedLiterals}}ARRAY[{{join .ListedLiterals ", "}}]{{else}}NULL{{end}}::text[];
    target oid;
    locked oid;
    owner text;
    kind "char";
    identity "char";
    nullable text;
    key_index text;
    unidentified boolean;
    published boolean;
    grants text[];
    revokes text[];
    note text;
    statement text;
    altering boolean := false;
    named boolean := false;
    indexed boolean := false;
    lists text[];
    listed text[];
    reason text;
BEGIN
    -- What is told before the locks go may take as long as the caller does not listen: nothing is, up to the transaction's end.
    PERFORM pg_catalog.set_config('client_min_messages', 'error', true);
    -- Nor does the caller say how long the work behind a lock takes, or what its commit waits for: such settings are the server's own, up to there, but for
    -- those that the server's files set.
    PERFORM pg_catalog.set_config(s.name, s.boot_val, true)
    FROM pg_catalog.pg_settings AS s
    WHERE s.context = 'user' AND s.source IN ('client', 'session', 'user', 'database user', 'interactive', 'test') AND s.setting <> s.boot_val
        AND (
            s.name ~ '^(synchronous_commit|(maintenance_)?work_mem|hash_mem_multiplier|temp_tablespaces|backend_flush_after)$'
            OR s.name ~ '^(enable_|geqo|jit|(min|max)_parallel_|(debug|force)_parallel_)|_(cost|collapse_limit|io_concurrency|fraction|cache_size)$'
        );
    -- To choose how many workers build an index the server plans a read of the table, and evaluates what is constant in its other indexes and in its
    -- statistics: code of the table's owner, in the caller's session. For none it plans nothing.
    PERFORM pg_catalog.set_config('max_parallel_maintenance_workers', '0', true);
    -- A snapshot of before would show the owner of before.
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'this function runs under READ COMMITTED only' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    -- A look without a lock, one with it and what is to be done, and one at what was done.
    FOR pass IN 1..3 LOOP
        SELECT c.oid, pg_catalog.pg_get_userbyid(c.relowner), c.relkind, c.relreplident INTO target, owner, kind, identity
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = schema_name AND c.relname = table_name;
        IF target IS NULL THEN
            RAISE EXCEPTION 'there is no table %.%', schema_name, table_name USING ERRCODE = 'undefined_table';
        END IF;
        IF owner IS DISTINCT FROM owner_name THEN
            RAISE EXCEPTION 'table %.% belongs to %, not to %', schema_name, table_name, owner, owner_name USING ERRCODE = 'insufficient_privilege';
        END IF;
        IF kind <> 'r' THEN
            RAISE EXCEPTION '%.% is not an ordinary table', schema_name, table_name USING ERRCODE = 'feature_not_supported';
        END IF;
        -- ALTER TABLE would go on to a child, and evaluate what the child's owner wrote there. Behind the lock no table becomes one.
        IF EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE target IN (i.inhparent, i.inhrelid)) THEN
            RAISE EXCEPTION '%.% has parents or children by inheritance', schema_name, table_name USING ERRCODE = 'feature_not_supported';
        END IF;
        SELECT pg_catalog.string_agg(pg_catalog.format('ALTER COLUMN %I SET NOT NULL', a.attname), ', ' ORDER BY a.attnum) INTO nullable
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = target AND a.attname = ANY (key_columns) AND NOT a.attnotnull AND NOT a.attisdropped;
        key_index := NULL;
        SELECT ic.relname INTO key_index
        FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
        WHERE i.indrelid = target AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
            AND i.indnkeyatts = pg_catalog.cardinality(key_columns)
            AND (
                SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text COLLATE "C")
                FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                WHERE k.place <= i.indnkeyatts
            ) = (SELECT pg_catalog.array_agg(c ORDER BY c COLLATE "C") FROM pg_catalog.unnest(key_columns) AS c)
        ORDER BY i.indisprimary DESC, ic.relname
        LIMIT 1;
        unidentified := identity <> 'f' AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_index AS i
            WHERE i.indrelid = target AND (identity = 'd' AND i.indisprimary AND i.indimmediate OR identity = 'i' AND i.indisreplident)
                AND key_columns <@ (
                    SELECT pg_catalog.array_agg(a.attname::text)
                    FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                    WHERE k.place <= i.indnkeyatts
                )
        );
        -- The view of published tables would lock each of them.
        SELECT p.puballtables OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r WHERE r.prpubid = p.oid AND r.prrelid = target)
        INTO published
        FROM pg_catalog.pg_publication AS p
        WHERE p.pubname = publication_name;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no publication %', publication_name USING ERRCODE = 'undefined_object';
        END IF;
        IF NOT published AND pg_catalog.current_setting('server_version_num')::int >= 150000 THEN
            published := EXISTS (
                SELECT FROM pg_catalog.pg_publication AS p
                JOIN pg_catalog.pg_publication_namespace AS s ON s.pnpubid = p.oid
                JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.pnnspid
                WHERE p.pubname = publication_name AND c.oid = target
            );
        END IF;
        -- One who may call it, and pass that on, gives no other role the columns: that is the owner's to do.
        grants := ARRAY(
            SELECT pg_catalog.format('GRANT SELECT (%s) ON TABLE %I.%I TO %I', lacking.columns, schema_name, table_name, pg_catalog.pg_get_userbyid(g.grantee))
            FROM pg_catalog.pg_proc AS f
            CROSS JOIN LATERAL pg_catalog.aclexplode(f.proacl) AS g
            CROSS JOIN LATERAL (
                SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = target AND a.attname = ANY (read_columns) AND NOT a.attisdropped
                    AND NOT pg_catalog.has_column_privilege(g.grantee, a.attrelid, a.attnum, 'SELECT')
            ) AS lacking
            WHERE f.oid = pg_catalog.to_regprocedure({{.FunctionLiteral}}) AND g.privilege_type = 'EXECUTE' AND g.grantor = f.proowner
                AND g.grantee NOT IN (0, f.proowner) AND lacking.columns IS NOT NULL
        );
        -- The callers had these rights on the tables that had the name before, and read them by that name only. A table whose present name another
        -- pipeline's function prepares is left alone.
        revokes := ARRAY(
            SELECT pg_catalog.format('REVOKE SELECT (%s) ON TABLE %I.%I FROM %I', given.columns, n.nspname, c.relname, pg_catalog.pg_get_userbyid(given.grantee))
            FROM pg_catalog.pg_publication AS p
            JOIN pg_catalog.pg_class AS c ON c.oid::text = ANY (pg_catalog.string_to_array(
                pg_catalog.substring(pg_catalog.obj_description(p.oid, 'pg_publication'), '(?:^|\n)wal2vec tables: ([0-9 ]*)$'), ' '
            ))
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            CROSS JOIN LATERAL (
                SELECT g.grantee, pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
                FROM pg_catalog.pg_attribute AS a
                CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS g
                WHERE a.attrelid = c.oid AND a.attname = ANY (read_columns) AND NOT a.attisdropped
                    AND g.privilege_type = 'SELECT' AND g.grantor = c.relowner
                GROUP BY g.grantee
            ) AS given
            WHERE p.pubname = publication_name AND c.oid <> target AND c.relkind = 'r' AND pg_catalog.pg_get_userbyid(c.relowner) = owner_name
                AND given.grantee IN (
                    SELECT g.grantee
                    FROM pg_catalog.pg_proc AS f
                    CROSS JOIN LATERAL pg_catalog.aclexplode(f.proacl) AS g
                    WHERE f.oid = pg_catalog.to_regprocedure({{.FunctionLiteral}}) AND g.privilege_type = 'EXECUTE' AND g.grantor = f.proowner
                        AND g.grantee NOT IN (0, f.proowner)
                )
                AND NOT EXISTS (
                    SELECT
                    FROM pg_catalog.pg_proc AS f
                    WHERE f.pronamespace = c.relnamespace AND pg_catalog.starts_with(f.proname::text, 'wal2vec_follow_')
                        AND f.prosecdef AND pg_catalog.pg_has_role(f.proowner, c.relowner, 'USAGE')
                        AND pg_catalog.strpos(f.prosrc, pg_catalog.format(E'    table_name CONSTANT text := %L;\n', c.relname)) > 0
                )
        );
        IF pass = 3 THEN
            EXECUTE $strays${{query "source_swap_strays"}}$strays$ INTO reason USING ARRAY[locked];
            IF reason IS NOT NULL OR target <> locked OR indexed AND key_index IS NULL OR pg_catalog.cardinality(grants) > 0
                OR altering AND NOT indexed AND (nullable IS NOT NULL OR unidentified OR NOT published) THEN
                RAISE EXCEPTION 'the name %.% moved on', schema_name, table_name USING ERRCODE = 'lock_not_available';
            END IF;
            RETURN;
        END IF;
        IF nullable IS NULL AND key_index IS NOT NULL AND NOT unidentified AND published AND pg_catalog.cardinality(grants) = 0
            AND pg_catalog.cardinality(revokes) = 0 THEN
            RETURN;
        END IF;
        IF pass = 1 THEN
            -- A call by the object id is a message of its own, without a text.
            IF COALESCE(pg_catalog.rtrim(pg_catalog.current_query(), E'; \n'), {{.CallLiteral}}) <> {{.CallLiteral}}
                OR pg_catalog.statement_timestamp() <> pg_catalog.transaction_timestamp() THEN
                RAISE EXCEPTION 'this function is to be called alone, outside of a transaction block: %', {{.CallLiteral}}
                    USING ERRCODE = 'active_sql_transaction';
            END IF;
            -- Before the lock: no writer of the new table waits for a lock on an old one. dbt drops such a table at any moment; what stays, the next
            -- call or a teardown takes back.
            FOREACH statement IN ARRAY revokes LOOP
                BEGIN
                    EXECUTE statement;
                EXCEPTION
                    WHEN OTHERS THEN
                        NULL;
                END;
            END LOOP;
            -- Only for the rights no writer has to wait.
            altering := nullable IS NOT NULL OR key_index IS NULL OR unidentified OR NOT published;
            -- What follows alters by name, with the rights of this function, and runs what stands at the name. Not so an index: that is built as the table's
            -- owner, takes its time, in which no process should wait for the schema, and is looked for at the table that was locked.
            named := altering AND key_index IS NOT NULL;
            IF named THEN
                {{query "source_swap_pin"}}
            END IF;
            -- LOCK TABLE takes a view and what stands behind it, and waits for each by itself. So the first lock waits for nothing; then the name
            -- stays with what has it, and a table is all that the second one waits for.
            LOCK TABLE ONLY {{.Table}} IN ACCESS SHARE MODE NOWAIT;
            PERFORM
            FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE c.oid = target AND c.relkind = 'r' AND n.nspname = schema_name AND c.relname = table_name;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the name %.% moved on', schema_name, table_name USING ERRCODE = 'lock_not_available';
            END IF;
            IF altering THEN
                LOCK TABLE ONLY {{.Table}} IN SHARE ROW EXCLUSIVE MODE;
            END IF;
            CONTINUE;
        END IF;
        locked := target;
        -- SET NOT NULL asks whether a CHECK implies it, and for that evaluates what is constant in one; REPLICA IDENTITY asks a unique index for its
        -- expressions and predicate, and another may get the index's name at any moment: both as the role that alters. So nothing of the table's
        -- owner may stand there.
        SELECT t.what INTO reason
        FROM (
            SELECT 'CHECK' AS what, k.conbin::text AS tree
            FROM pg_catalog.pg_constraint AS k
            WHERE nullable IS NOT NULL AND k.conrelid = target AND k.contype = 'c'
            UNION ALL
            SELECT 'unique index', pg_catalog.concat(i.indexprs::text, i.indpred::text)
            FROM pg_catalog.pg_index AS i
            WHERE unidentified AND i.indrelid = target AND i.indisunique
        ) AS t
        CROSS JOIN LATERAL (
            {{query "source_code_parts"}}
        ) AS p
        LIMIT 1;
        IF reason IS NOT NULL THEN
            RAISE EXCEPTION '%.% has a % that calls functions which are not built in: its owner has to give it NOT NULL and the replica identity',
                schema_name, table_name, reason USING ERRCODE = 'insufficient_privilege';
        END IF;
        -- The lists of columns that the owner's tables are published with, but for those that other functions of this kind prepare, and the one that
        -- init found: the new table gets the one that they have in common.
        IF NOT published THEN
            SELECT pg_catalog.array_agg(DISTINCT r.list::text), pg_catalog.bool_or(r.filtered)::text INTO lists, reason
            FROM (
                SELECT
                    CASE
                        WHEN pg_catalog.jsonb_typeof(pg_catalog.to_jsonb(r) -> 'prattrs') = 'array' THEN ARRAY(
                            SELECT a.attname::text
                            FROM pg_catalog.pg_attribute AS a
                            WHERE a.attrelid = r.prrelid AND pg_catalog.to_jsonb(r) -> 'prattrs' @> pg_catalog.to_jsonb(a.attnum)
                            ORDER BY a.attname::text COLLATE "C"
                        )
                        ELSE ARRAY[]::text[]
                    END AS list,
                    COALESCE(pg_catalog.to_jsonb(r) ->> 'prqual', '') <> '' AS filtered
                FROM pg_catalog.pg_publication AS p
                JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid
                JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
                WHERE p.pubname = publication_name AND pg_catalog.pg_get_userbyid(c.relowner) = owner_name
                    AND NOT EXISTS (
                        SELECT
                        FROM pg_catalog.pg_proc AS f
                        WHERE f.pronamespace = c.relnamespace AND pg_catalog.starts_with(f.proname::text, 'wal2vec_follow_')
                            AND f.prosecdef AND pg_catalog.pg_has_role(f.proowner, c.relowner, 'USAGE')
                            AND f.oid <> pg_catalog.to_regprocedure({{.FunctionLiteral}})
                            AND pg_catalog.strpos(f.prosrc, pg_catalog.format(E'    table_name CONSTANT text := %L;\n', c.relname)) > 0
                    )
                UNION ALL
                SELECT listed_columns, false WHERE listed_columns IS NOT NULL
            ) AS r;
            listed := NULLIF(lists[1]::text[], ARRAY[]::text[]);
            reason := CASE
                WHEN reason = 'true' THEN 'filters rows'
                WHEN pg_catalog.cardinality(lists) > 1 THEN 'lists different columns for tables of its owner'
                WHEN listed IS NULL THEN NULL
                WHEN NOT listed @> key_columns THEN 'leaves out the key'
                WHEN NOT listed <@ ARRAY(
                    SELECT a.attname::text FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
                ) THEN 'lists columns that the new table has not'
                WHEN NOT unidentified AND (
                    identity = 'f' OR EXISTS (
                        SELECT
                        FROM pg_catalog.pg_index AS i
                        CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                        WHERE i.indrelid = target AND (identity = 'd' AND i.indisprimary OR identity = 'i' AND i.indisreplident)
                            AND k.place <= i.indnkeyatts AND a.attname::text <> ALL (listed)
                    )
                ) THEN 'leaves out columns of the replica identity, so that an UPDATE would fail'
            END;
            IF reason IS NOT NULL THEN
                RAISE EXCEPTION 'publication % %: its owner has to add %.% to it', publication_name, reason, schema_name, table_name
                    USING ERRCODE = 'feature_not_supported';
            END IF;
        END IF;
        FOREACH statement IN ARRAY grants LOOP
            EXECUTE statement;
        END LOOP;
        IF altering AND key_index IS NULL THEN
            indexed := true;
            -- Its name ends with what no role can foresee: any that may create in the schema could take the name before.
            EXECUTE pg_catalog.format(
                'CREATE UNIQUE INDEX %I ON ONLY %I.%I (%s)',
                pg_catalog.concat('wal2vec_key_', target, '_', pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', '')), schema_name, table_name,
                (
                    SELECT pg_catalog.string_agg(pg_catalog.quote_ident(k.name), ', ' ORDER BY k.place)
                    FROM pg_catalog.unnest(key_columns) WITH ORDINALITY AS k (name, place)
                )
            );
        ELSIF altering THEN
            IF NOT named THEN
                RAISE EXCEPTION 'the name %.% moved on', schema_name, table_name USING ERRCODE = 'lock_not_available';
            END IF;
            IF nullable IS NOT NULL THEN
                EXECUTE pg_catalog.format('ALTER TABLE ONLY %I.%I ', schema_name, table_name) || nullable;
            END IF;
            IF unidentified THEN
                EXECUTE pg_catalog.format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY USING INDEX %I', schema_name, table_name, key_index);
            END IF;
            IF NOT published THEN
                EXECUTE pg_catalog.format(
                    'ALTER PUBLICATION %I ADD TABLE ONLY %I.%I', publication_name, schema_name, table_name
                ) || COALESCE(
                    ' (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(l.name), ', ') FROM pg_catalog.unnest(listed) AS l (name)) || ')', ''
                );
                -- A teardown knows from the last line of the publication's comment which tables it may take out.
                SELECT pg_catalog.concat_ws(
                    E'\n', NULLIF(pg_catalog.regexp_replace(d.comment, '(^|\n)wal2vec tables: [0-9 ]*$', ''), ''),
                    pg_catalog.concat_ws(' ', 'wal2vec tables:', (
                        SELECT pg_catalog.string_agg(c.oid::text, ' ' ORDER BY c.oid)
                        FROM pg_catalog.pg_class AS c
                        WHERE c.oid::text = ANY (pg_catalog.string_to_array(
                            pg_catalog.substring(d.comment, '(?:^|\n)wal2vec tables: ([0-9 ]*)$'), ' '
                        ))
                    ), target)
                ) INTO note
                FROM pg_catalog.pg_publication AS p
                CROSS JOIN LATERAL (SELECT pg_catalog.obj_description(p.oid, 'pg_publication')) AS d (comment)
                WHERE p.pubname = publication_name;
                EXECUTE pg_catalog.format('COMMENT ON PUBLICATION %I IS %L', publication_name, note);
            END IF;
        END IF;
        -- Whatever has queued a trigger up to the end of the transaction: it runs here, with the rights of this function, and not with those of the caller.
        SET CONSTRAINTS ALL IMMEDIATE;
    END LOOP;
EXCEPTION
    -- An error is told to the caller before its transaction ends: one who does not listen would keep the locks until then.
    WHEN query_canceled OR OTHERS THEN
        RAISE;
END
{{.Tag}}
