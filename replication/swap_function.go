package replication

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// SwapFunction is the name of the function that prepares a table that has taken the place of the pipeline's, for roles that do not own it.
// It stands beside the table.
func SwapFunction(schema, pipeline string) pgx.Identifier {
	return pgx.Identifier{schema, "wal2vec_follow_" + pipeline}
}

// SwapFunctionSQL returns the statements that make the function, for the table's present owner to run, and let roles call it. Nobody else may.
func SwapFunctionSQL(ctx context.Context, db Querier, s Swap, roles []string) ([]string, error) {
	var table, publication, function bool
	var owner, role string
	err := db.QueryRow(ctx, sql.Query("source_swap_rights"), s.Is, s.Publication, s.Function.Sanitize()).
		Scan(&table, &publication, &owner, &function, &role)
	if err != nil {
		return nil, fmt.Errorf("asking who owns the table: %w", err)
	}
	keys := make([]string, len(s.Table.Key))
	for i, k := range s.Table.Key {
		keys[i] = pgname.Literal(k)
	}
	data := map[string]any{
		"Function": s.Function.Sanitize(), "Table": pgname.Qualified(s.Table.Schema, s.Table.Table),
		"Publication":   pgname.Identifier(s.Publication),
		"SchemaLiteral": pgname.Literal(s.Table.Schema), "TableLiteral": pgname.Literal(s.Table.Table), "OwnerLiteral": pgname.Literal(owner),
		"PublicationLiteral": pgname.Literal(s.Publication), "KeyLiterals": keys,
	}
	tag := "$wal2vec$"
	for strings.Contains(fmt.Sprint(data), tag) { // a name of the user's
		tag = "$wal2vec_" + tag[1:]
	}
	data["Tag"] = tag
	create, err := sql.Render("source_swap_function", data)
	if err != nil {
		return nil, err
	}
	statements := []string{create, "REVOKE ALL ON FUNCTION " + s.Function.Sanitize() + "() FROM PUBLIC"}
	for _, role := range roles {
		statements = append(statements, fmt.Sprintf("GRANT EXECUTE ON FUNCTION %s() TO %s", s.Function.Sanitize(), pgname.Identifier(role)))
	}
	return statements, nil
}

// MayPrepareSwaps reports whether the role of the connection may do what PrepareSwap does, as the owner or by the function, and whether as the
// owner; role is its name.
func MayPrepareSwaps(ctx context.Context, db Querier, s Swap) (may, owns bool, role string, err error) {
	var table, publication, function bool
	var owner string
	err = db.QueryRow(ctx, sql.Query("source_swap_rights"), s.Is, s.Publication, s.Function.Sanitize()).
		Scan(&table, &publication, &owner, &function, &role)
	if err != nil {
		return false, false, "", fmt.Errorf("asking who owns the table: %w", err)
	}
	return table && publication || function, table && publication, role, nil
}

// EnsureSwapFunction makes the function in one transaction.
func EnsureSwapFunction(ctx context.Context, conn *pgx.Conn, statements []string) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, step := range statements {
			if err := statement.Run(ctx, tx, step); err != nil {
				return err
			}
		}
		return nil
	})
	if fault.SQLSTATE(err) == "42501" {
		return fault.Wrap(err, fault.Usage, "wal2vec init --print-sql", "making the function that follows swapped tables")
	}
	if err != nil {
		return fmt.Errorf("making the function that follows swapped tables: %w", err)
	}
	return nil
}

// DropSwapFunction drops the function if it exists.
func DropSwapFunction(ctx context.Context, db Querier, function pgx.Identifier) error {
	if err := statement.Run(ctx, db, "DROP FUNCTION IF EXISTS "+function.Sanitize()+"()"); err != nil {
		return fmt.Errorf("dropping function %s: %w", function.Sanitize(), err)
	}
	return nil
}
