-- Keeps the name of a schema, schema_name, with the schema that has it, up to the end of the transaction. No lock does that: ALTER SCHEMA ... RENAME takes
-- none on a table. But it writes the schema's row, and waits for a transaction that has written that row before, to fail where it commits. So this one
-- writes it, and changes nothing: an owner has its grant options whatever its row says, and who has the use of a schema may ask for that. The name may
-- have been looked up in a cache from before a rename: that the row which has the name now was written here shows in its transaction, whose lock is this
-- session's. Another that writes the row at the same time makes this wait, and fail where that commits: hence the tries.
<<pin>>
DECLARE
    pinned boolean := false;
    holder name;
BEGIN
    FOR try IN 1..20 LOOP
        BEGIN
            SELECT pg_catalog.pg_get_userbyid(n.nspowner) INTO holder FROM pg_catalog.pg_namespace AS n WHERE n.nspname = schema_name;
            EXIT WHEN NOT FOUND;
            EXECUTE pg_catalog.format('REVOKE GRANT OPTION FOR USAGE ON SCHEMA %I FROM %I', schema_name, holder);
            PERFORM
            FROM pg_catalog.pg_namespace AS n
            JOIN pg_catalog.pg_locks AS l ON l.locktype = 'transactionid' AND l.transactionid = n.xmin AND l.pid = pg_catalog.pg_backend_pid() AND l.granted
            WHERE n.nspname = schema_name AND pg_catalog.pg_get_userbyid(n.nspowner) = holder;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'another schema has the name' USING ERRCODE = 'internal_error';
            END IF;
            pinned := true;
        EXCEPTION
            WHEN internal_error THEN -- "tuple concurrently updated"
                NULL;
        END;
        EXIT WHEN pinned;
    END LOOP;
    IF NOT pinned THEN
        RAISE EXCEPTION 'the name of schema % moves', schema_name USING ERRCODE = 'lock_not_available';
    END IF;
END;
