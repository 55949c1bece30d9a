package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// swapFunctionVersion stands in the function. It rises with whatever changes in the function
// outside of its body.
const swapFunctionVersion = "wal2vec_follow 5"

// functionPrefix begins the name of every such function.
const functionPrefix = "wal2vec_follow_"

// SwapFunction is the name of the function that prepares a table that has taken the place of the
// pipeline's, for roles that do not own it. It stands beside the table.
func SwapFunction(schema, pipeline string) pgx.Identifier {
	return pgx.Identifier{schema, functionPrefix + pipeline}
}

// swapCall is the only statement that the function lets itself be called by; a stream calls it by
// its object id (callByID).
func swapCall(function pgx.Identifier) string {
	return "SELECT " + pgname.Catalogue(function...) + "()"
}

// SwapRights say what the role of a connection may do with a table that takes the place of the
// pipeline's.
type SwapRights struct {
	// Table and Publication say whether the role has the rights of their owners.
	Table, Publication bool
	// Owner is the table's.
	Owner string
	// Function says whether the role may call the function that prepares such a table, and this
	// runs as a role that may have it.
	Function bool
	Role     string
	// Refused is why a function that is there is not called; empty where it is, or there is none.
	Refused string
	// Altered says whether there is a function that differs from what SwapFunctionSQL makes: it is
	// not called.
	Altered bool

	body  string // of the function; empty where there is none
	owner string // of the function
	oid   uint32 // of the function
}

// Owns reports whether the role may prepare such a table by itself.
func (r SwapRights) Owns() bool { return r.Table && r.Publication }

// May reports whether the role may have such a table prepared, by itself or by the function.
func (r SwapRights) May() bool { return r.Owns() || r.Function }

// Exists reports whether there is a function of that name, no matter which role may call it.
func (r SwapRights) Exists() bool { return r.body != "" }

// Grants reports whether the function lets the role read these columns of such a table.
func (r SwapRights) Grants(columns []string) bool {
	return r.Function && strings.Contains(r.body, swapFunctionVersion) && len(notRead(r.body, columns)) == 0
}

// Rights asks what the role of the connection may do.
func (s Swap) Rights(ctx context.Context, db Querier) (r SwapRights, err error) {
	var is shape
	err = db.QueryRow(ctx, sql.Query("source_swap_rights"), s.Is, s.Publication, pgname.Catalogue(s.Function...)).
		Scan(&r.Table, &r.Publication, &r.Owner, &r.Function, &r.Role, &r.body, &is.definer, &is.language, &is.settings, &r.owner, &r.oid)
	if err != nil {
		return r, fmt.Errorf("asking who owns the table: %w", err)
	}
	if r.Exists() {
		same, err := s.wrote(r.body)
		if err != nil {
			return r, err
		}
		r.Altered = !same || !is.fits()
	}
	if !r.Function {
		return r, nil
	}
	if r.Altered {
		r.Function, r.Refused = false, fmt.Sprintf("function %s() is not as this version of wal2vec init makes it", pgname.Catalogue(s.Function...))
		return r, nil
	}
	s.RunAs = r.owner // of the function that was looked at, whichever has its name by now
	role, err := s.Role(ctx, db)
	if err != nil {
		return r, err
	}
	s.RunAs = ""
	if err := s.fit(ctx, db, role, nil); err != nil {
		r.Function, r.Refused = false, err.Error()
	}
	return r, nil
}

// present is the function as it is.
type present struct {
	exists bool
	owner  string
	acts   bool // its owner has the rights of the table's owner
	ours   bool // its owner is the one of the table, of the publication, this role, or the one that is to have it
	kept   bool // its owner is this role, or the one that is to have it, if any: its callers were named by init
	body   string
	public bool // everybody may call it
	roles  []string
	others []string // they have the right to call it from another than the owner
	passed bool     // one of them may pass the right on, or has it from another than the owner
	shape
}

// made reports whether wal2vec made it: the name alone is anybody's to give who may make functions
// beside the table.
func (p present) made() bool {
	return strings.Contains(p.body, "schema_name CONSTANT text := ") && strings.Contains(p.body, "key_columns CONSTANT text[] := ARRAY[")
}

// of reports whether function and publication belong to a role.
func (p present) of(r SwapRole) bool { return p.exists && p.owner == r.Name && r.publisher == r.Name }

// made reports whether it was made for this table and publication: pipelines of two sinks may have
// one name.
func (s Swap) made(p present) bool {
	return p.made() && ofTable(p.body, s.Table.Schema, s.Table.Table) &&
		strings.Contains(p.body, "    publication_name CONSTANT text := "+pgname.Literal(s.Publication)+";\n")
}

// whose says what a function that is not ours is, and what keeps it from being replaced.
func (s Swap) whose(p present) string {
	if p.made() {
		return fmt.Sprintf("was made for another table than %s, or another publication than %s; a pipeline of this name in another sink may need it",
			pgname.Qualified(s.Table.Schema, s.Table.Table), pgname.Identifier(s.Publication))
	}
	return "is not one that wal2vec made"
}

func (s Swap) present(ctx context.Context, db Querier) (p present, err error) {
	err = db.QueryRow(ctx, sql.Query("source_swap_grantees"), s.Is, s.Publication, pgname.Catalogue(s.Function...), s.RunAs).
		Scan(&p.owner, &p.ours, &p.kept, &p.acts, &p.body, &p.public, &p.roles, &p.definer, &p.language, &p.settings, &p.passed, &p.others)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("looking for function %s: %w", pgname.Catalogue(s.Function...), err)
	}
	p.exists = true
	return p, nil
}

// SwapFunctionSQL returns the statements that make the function, for the table's present owner to
// run in one transaction, and let these roles call it, and no other: who could call it before and
// is not named no longer can, but for the role that reads the table. Without roles it is brought up
// to date for those that it has, but not where it is another role's than this one's or s.RunAs,
// whose callers no init named. There are no statements where all is well, or no role is to have it.
// With s.RunAs function and publication are handed to that role. A function of that name that
// another role made, or that was made for another table or publication, is a fault of kind Usage;
// so is one that would run as a role with other rights than the table's owner, or that others can
// act as, and then the statements are those that take it from its callers.
func SwapFunctionSQL(ctx context.Context, db Querier, s Swap, roles []string) ([]string, error) {
	now, err := s.present(ctx, db)
	if err != nil {
		return nil, err
	}
	name := pgname.Catalogue(s.Function...) + "()"
	if now.exists && !now.ours {
		return nil, fault.New(fault.Usage, s.foreignAdvice(now), "function %s belongs to role %q, who owns neither table nor publication", name, now.owner)
	}
	if now.exists && !s.made(now) {
		try := "rename or drop it, if it is yours: DROP ROUTINE " + name + ";"
		if now.made() {
			try = "give this pipeline another name (pipeline:); or, where no other pipeline of this name is left: DROP FUNCTION " + name + ";"
		}
		return nil, fault.New(fault.Usage, try, "function %s, of role %q, %s", name, now.owner, s.whose(now))
	}
	if len(roles) == 0 && now.kept {
		roles = now.roles
	}
	switch {
	case len(roles) > 0 || now.kept || s.RunAs == "" && len(s.Readers) > 0:
	case s.RunAs != "":
		return nil, fault.New(fault.Usage, "name them: wal2vec init "+pgname.Flag("swap-role", s.RunAs)+" --grant-stream=ROLE",
			"no role is to call function %s, which role %q is to own", name, s.RunAs)
	default:
		return nil, nil
	}
	roles = slices.Concat(roles, s.Readers)
	if slices.Contains(now.roles, s.Table.Reader) {
		roles = append(roles, s.Table.Reader)
	}
	role, err := s.Role(ctx, db)
	if err != nil {
		return nil, err
	}
	role.has = now.of(role)
	if err := s.lean(ctx, db, role, roles); err != nil {
		return disarmSQL(name, now), err
	}
	create, err := s.createFunction(ctx, db, now)
	if err != nil {
		return nil, err
	}
	var statements []string
	handOver := s.handOverSQL(role, now)
	// A function that is handed over is made in that transaction: its owner could exchange what was
	// looked at before, settings included.
	made := !now.exists || bodyOf(create) != now.body || !now.fits() || len(handOver) > 0
	if made {
		statements = append(statements, create)
	}
	if made || now.public { // it may have been dropped since
		statements = append(statements, "REVOKE ALL ON FUNCTION "+name+" FROM PUBLIC")
	}
	had := now.roles
	if made || now.passed { // others may have been given it since the look, and may give it on
		regrant, err := s.regrantSQL(roles)
		if err != nil {
			return nil, err
		}
		statements, had = append(statements, regrant), nil
	}
	for _, role := range now.roles {
		if !slices.Contains(roles, role) {
			statements = append(statements, fmt.Sprintf("REVOKE ALL ON FUNCTION %s FROM %s CASCADE", name, pgname.Identifier(role)))
		}
	}
	for _, role := range slices.Compact(slices.Sorted(slices.Values(roles))) {
		if !slices.Contains(had, role) {
			statements = append(statements, fmt.Sprintf("GRANT EXECUTE ON FUNCTION %s TO %s", name, pgname.Identifier(role)))
		}
	}
	return append(statements, handOver...), nil
}

// foreignAdvice is for a function of a role that it is not asked to belong to.
func (s Swap) foreignAdvice(now present) string {
	drop := "or, where no program calls it: DROP ROUTINE " + pgname.Catalogue(s.Function...) + "();" // it may be a procedure
	if now.acts && s.made(now) {                                                                     // the publication was made again
		return "name that role, which then gets the publication: wal2vec init " + pgname.Flag("swap-role", now.owner) + " --grant-stream=ROLE; " + drop
	}
	return "give this pipeline another name (pipeline:); " + drop
}

// disarmSQL takes a function from all who may call it.
func disarmSQL(name string, now present) (statements []string) {
	if !now.exists {
		return nil
	}
	if now.public {
		statements = append(statements, "REVOKE ALL ON FUNCTION "+name+" FROM PUBLIC")
	}
	for _, role := range now.roles {
		statements = append(statements, fmt.Sprintf("REVOKE ALL ON FUNCTION %s FROM %s CASCADE", name, pgname.Identifier(role)))
	}
	return statements
}

// createFunction returns the statement that makes it.
func (s Swap) createFunction(ctx context.Context, db Querier, now present) (string, error) {
	rights, err := s.Rights(ctx, db)
	if err != nil {
		return "", err
	}
	columns, lost := s.Table.ReadColumns(), notRead(now.body, s.Besides)
	for _, c := range s.Besides {
		if !slices.Contains(columns, c) && !slices.Contains(lost, c) {
			columns = append(columns, c)
		}
	}
	listed, err := PublishedColumns(ctx, db, s.Publication, s.Is)
	if err != nil {
		return "", err
	}
	return s.functionSQL(pgname.Literal(rights.Owner), pgname.Literals(s.Table.Key), pgname.Literals(columns), pgname.Literals(listed))
}

// notRead returns those of the columns that a function of this body does not let its callers read.
func notRead(body string, columns []string) []string {
	const begin = "read_columns CONSTANT text[] := ARRAY["
	_, list, _ := strings.Cut(body, begin)
	list, _, _ = strings.Cut(list, "]::text[];\n")
	return slices.DeleteFunc(slices.Clone(columns), func(c string) bool {
		return strings.Contains(", "+list+", ", ", "+pgname.Literal(c)+", ")
	})
}

// ofTable reports whether a function of this body prepares tables of that name.
func ofTable(body, schema, table string) bool {
	return strings.Contains(body, "schema_name CONSTANT text := "+pgname.Literal(schema)+";\n") &&
		strings.Contains(body, "table_name CONSTANT text := "+pgname.Literal(table)+";\n")
}

// EnsureFunction runs the statements of SwapFunctionSQL and StreamGrantsSQL in one transaction: at
// no moment may everybody call the function, as those who may create one could otherwise have had
// it called before its rights were taken from PUBLIC.
//
// The statements name the schema, whose owner could give its name to another schema between two of
// them: the name is kept, and what they made is looked at before they are committed. A function
// that is not what they say is a fault of kind Usage whose cause is ErrNotAsMade. So is one of
// roles, for which StreamGrantsSQL was asked, that may not read what it was to read.
func (s Swap) EnsureFunction(ctx context.Context, conn *pgx.Conn, statements []string, roles ...string) error {
	return s.inOne(ctx, conn, statements, "making the function that follows swapped tables", func(tx pgx.Tx) error {
		if err := s.seenGiven(ctx, tx, roles); err != nil {
			return err
		}
		return s.handedOver(ctx, tx, statements)
	})
}

// takingBack is what inOne does for --revoke and teardown.
const takingBack = "taking back what roles were given in the source"

func (s Swap) inOne(ctx context.Context, conn Beginner, statements []string, doing string, then func(pgx.Tx) error) error {
	if len(statements) == 0 {
		return nil
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// What takes back may come when the schema is gone.
		if err := pin(ctx, tx, doing == takingBack, s.Table.Schema); err != nil {
			return err
		}
		for _, step := range statements {
			if err := statement.Run(ctx, tx, step); err != nil {
				return err
			}
		}
		if then == nil {
			return nil
		}
		return then(tx)
	})
	if fault.SQLSTATE(err) == "42501" {
		return fault.Wrap(err, fault.Usage, "run it as the role that owns table and publication", "%s", doing)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
