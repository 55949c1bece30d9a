package sink

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// safeVector is the first pgvector that keeps an HNSW index whole in every vacuum: 0.8.3 put an end
// to damage, 0.8.4 to errors.
var safeVector = []int{0, 8, 4}

// CheckLibrary returns a fault of kind Usage for a pgvector whose vacuum may damage an HNSW index.
// What counts is the version of the server's files, not that of the extension in the database. An
// unknown version passes.
func CheckLibrary(version string) error {
	if have, known := numbers(version); !known || slices.Compare(have, safeVector) >= 0 {
		return nil
	}
	return fault.New(fault.Usage, "install pgvector 0.8.4 or later on the sink's server; then, in the sink, run ALTER EXTENSION vector UPDATE; "+
		"and REINDEX INDEX CONCURRENTLY for each HNSW index",
		"pgvector is version %s: before 0.8.4 a vacuum can fail, before 0.8.3 damage an HNSW index, so that searches miss rows", version)
}

// numbers are the three parts of a version; a part that is left out is zero.
func numbers(version string) (parts []int, known bool) {
	parts = make([]int, len(safeVector))
	for i, part := range strings.SplitN(version, ".", len(parts)) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		parts[i] = n
	}
	return parts, true
}

// CheckLibrary is the function CheckLibrary for the sink's server.
func (s *Sink) CheckLibrary(ctx context.Context) error {
	var version string
	if err := s.pool.QueryRow(ctx, s.query("library")).Scan(&version); err != nil {
		return fmt.Errorf("asking for the version of pgvector: %w", err)
	}
	return CheckLibrary(version)
}

// CheckExtensionSchema returns a fault of kind Usage where the schema of pgvector belongs to a role
// that Trusted would not pass, or where such a role may make things in it. Such a role runs nothing
// of wal2vec's by it: statements of the sink that name the schema name a type with its dimensions
// there, which no role but a superuser can make, or an operator class, which is a superuser's too.
// But its owner can drop the schema, and with it pgvector and every vector, or give its name to
// another; and who makes operators there runs code as people who name the schema in queries of
// their own.
func (s *Sink) CheckExtensionSchema(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, s.query("extension_owner"), s.owner)
	if err != nil {
		return fmt.Errorf("asking whose the schema of pgvector is: %w", err)
	}
	var schema, named, owner, free, maker, giver string
	var trusted, everybody bool
	_, err = pgx.ForEachRow(rows, []any{&schema, &named, &owner, &trusted, &free, &maker, &everybody, &giver}, func() error {
		name := pgname.Identifier(schema)
		own := pgname.Identifier(free)
		switch {
		case !trusted && schema != "public":
			// What its owner made there, and gave to others, would be there still under another
			// owner; a schema that keeps the name would be found by queries that name it.
			try := "BEGIN; CREATE SCHEMA " + own + "; GRANT USAGE ON SCHEMA " + own + " TO PUBLIC; ALTER EXTENSION vector SET SCHEMA " + own +
				"; DROP SCHEMA " + name + "; COMMIT; -- as a superuser, while no process of wal2vec runs: each knows pgvector by its schema, " +
				"as queries of your own do. Where the DROP fails, look at what is left"
			return fault.New(fault.Usage, try, "schema %q, which pgvector is in, belongs to role %q, which could drop it with every vector in the database",
				schema, owner)
		case !trusted:
			try := "BEGIN; ALTER SCHEMA " + name + " OWNER TO CURRENT_USER; GRANT USAGE, CREATE ON SCHEMA " + name + " TO " + pgname.Identifier(named) +
				"; COMMIT; -- as a superuser"
			return fault.New(fault.Usage, try, "schema %q, which pgvector is in, belongs to role %q, which could drop it with every vector in the database",
				schema, owner)
		case maker != "":
			who := "role " + strconv.Quote(maker)
			whom := pgname.Identifier(maker)
			if everybody {
				who, whom = "every role", "PUBLIC"
			}
			try := "REVOKE CREATE ON SCHEMA " + name + " FROM " + whom + " CASCADE; -- as a superuser"
			if giver != "" { // a superuser takes back what the owner gave
				try = "BEGIN; SET LOCAL ROLE " + pgname.Identifier(giver) + "; REVOKE CREATE ON SCHEMA " + name + " FROM " + whom +
					" CASCADE; COMMIT; -- as a superuser"
			}
			return fault.New(fault.Usage, try, "%s may make operators in schema %q, which pgvector is in: whose query names that schema may run them",
				who, schema)
		}
		return nil
	})
	if err != nil {
		return s.explain(err, "asking whose the schema of pgvector is")
	}
	return nil
}
