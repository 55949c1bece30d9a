package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// pin keeps the names of these schemas with the schemas that have them, up to the end of the
// transaction. What is altered is told by its name, and no lock on a table keeps its schema from
// being renamed: the name could mean another table of the same owner than the one that was locked
// and looked at. What is looked up after it is what stands at the names. It waits as long as the
// transaction waits for a lock; a schema whose name moves is an error with SQLSTATE 55P03, and so
// is one that is not there, but for who is lenient.
func pin(ctx context.Context, tx pgx.Tx, lenient bool, schemas ...string) error {
	query, err := pinSQL(lenient, schemas)
	if err == nil {
		err = statement.Run(ctx, tx, query)
	}
	if err != nil {
		return fmt.Errorf("keeping the name of schema %s: %w", pgname.List(schemas), err)
	}
	return nil
}

// PinSQL returns the statements that come first in a transaction that another role is to run later,
// and that names the table: they keep the names of schema and table with what has them up to its
// end (see pin), and fail where that is not this table any more, or has another owner. Else a name
// that moved in between would have that role publish, or give away, another one's table.
func PinSQL(ctx context.Context, db Querier, table change.Table) ([]string, error) {
	var kind, owner string
	var relowner uint32
	if err := db.QueryRow(ctx, sql.Query("source_same"), table.OID).Scan(&kind, &relowner, &owner); err != nil {
		return nil, fmt.Errorf("asking who owns the table: %w", err)
	}
	name := pgname.Qualified(table.Schema, table.Name)
	data := map[string]any{
		"SchemaLiteral": pgname.Literal(table.Schema), "TableLiteral": pgname.Literal(table.Name), "Name": name,
		"OID": table.OID, "KindLiteral": pgname.Literal(kind), "Owner": relowner,
		"MessageLiteral": pgname.Literal(fmt.Sprintf(
			"%s is not the table that these statements were printed for: that one had object id %d and belonged to role %s",
			name, table.OID, pgname.Identifier(owner))),
	}
	data["Tag"] = tagFor(data)
	check, err := sql.Render("source_same_check", data)
	if err != nil {
		return nil, err
	}
	keep, err := pinSQL(false, []string{table.Schema})
	return []string{keep, check}, err
}

func pinSQL(lenient bool, schemas []string) (string, error) {
	data := map[string]any{"Lenient": lenient, "SchemaLiterals": pgname.Literals(slices.Sorted(slices.Values(schemas)))}
	data["Tag"] = tagFor(data)
	return sql.Render("source_swap_pins", data)
}

// tree is a table with its partitions.
type tree struct {
	schemas []string
	oids    []uint32
}

func (s Swap) tree(ctx context.Context, db Querier) (t tree, err error) {
	if err := db.QueryRow(ctx, sql.Query("source_swap_tree"), s.Is).Scan(&t.schemas, &t.oids); err != nil {
		return t, fmt.Errorf("looking for the new table's partitions: %w", err)
	}
	return t, nil
}

// pinTree pins the schemas of the table and of its partitions.
func (s Swap) pinTree(ctx context.Context, tx pgx.Tx) (t tree, err error) {
	if t, err = s.tree(ctx, tx); err != nil {
		return t, err
	}
	if !slices.Contains(t.schemas, s.Table.Schema) {
		return t, s.moved()
	}
	return t, pin(ctx, tx, false, t.schemas...)
}

// moved is the fault of names that mean something else by now.
func (s Swap) moved() error {
	return fault.New(fault.Unavailable, "", "the name of table %s.%s, or of a partition, moved", s.Table.Schema, s.Table.Table)
}

// settled runs what a trigger may have left for the end of the transaction, and returns a fault of
// kind Unavailable where what was altered is not the table that was looked at: what a statement ran
// goes back with the transaction.
func (s Swap) settled(ctx context.Context, tx pgx.Tx, t tree) error {
	if err := statement.Run(ctx, tx, "SET CONSTRAINTS ALL IMMEDIATE"); err != nil {
		return err
	}
	now, err := TableOID(ctx, tx, s.Table.Schema, s.Table.Table)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, sql.Query("source_swap_strays"), t.oids)
	if err != nil {
		return fmt.Errorf("looking at what was altered: %w", err)
	}
	strays, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("looking at what was altered: %w", err)
	}
	if now != s.Is || len(strays) > 0 {
		return s.moved()
	}
	return nil
}

// ErrNotAsMade is the cause of a fault of kind Usage: at the end of the transaction that made the
// function it is another.
var ErrNotAsMade = errors.New("it is not as it was made")

// handedOver returns a fault where these statements made the function, and what has its name now is
// not what they say, or they changed another of that name: a function that is handed over runs with
// the rights of its new owner, also where another role wrote it.
func (s Swap) handedOver(ctx context.Context, tx pgx.Tx, statements []string) error {
	made := slices.IndexFunc(statements, func(statement string) bool { return bodyOf(statement) != "" })
	if made < 0 {
		return nil
	}
	var is present
	var passed bool
	var others int
	err := tx.QueryRow(ctx, sql.Query("source_swap_made"), pgname.Catalogue(s.Function...)).
		Scan(&is.owner, &is.body, &is.definer, &is.language, &is.settings, &is.roles, &passed, &others)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("looking at the function that was made: %w", err)
	}
	owner := "ALTER FUNCTION " + pgname.Catalogue(s.Function...) + "() OWNER TO "
	goes := slices.ContainsFunc(statements, func(statement string) bool { return strings.HasPrefix(statement, owner) })
	given := func(role string) bool {
		return slices.Contains(statements, "GRANT EXECUTE ON FUNCTION "+pgname.Catalogue(s.Function...)+"() TO "+pgname.Identifier(role))
	}
	switch {
	case err == nil && is.body == bodyOf(statements[made]) && is.fits() && !passed && others == 0 &&
		(!goes || slices.Contains(statements, owner+pgname.Identifier(is.owner))) &&
		!slices.ContainsFunc(is.roles, func(role string) bool { return !given(role) }):
		return nil
	default:
		return fault.Wrap(ErrNotAsMade, fault.Usage, "look who else changes functions there, such as an event trigger, and run wal2vec init again",
			"function %s() was changed while it was made", pgname.Catalogue(s.Function...))
	}
}
