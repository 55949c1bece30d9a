package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// publishesGenerated is the first server version whose publications can carry stored generated
// columns.
const publishesGenerated = 180000

const resync = "wal2vec init --resync"

// PublisherError says that a role has not the rights of the table's owner, who alone can publish
// the table. It is a fault of kind Usage. Its advice gives no role anything: which one is to have
// the owner's rights, and so may alter and drop the table, is for a caller that knows what the role
// is for.
type PublisherError struct {
	Role, Owner string
	fault       *fault.Error
}

// Error is that of the fault.
func (e *PublisherError) Error() string { return e.fault.Error() }

// Unwrap returns the fault.
func (e *PublisherError) Unwrap() error { return e.fault }

// CheckPublisher returns a PublisherError where the table is not published yet and this role has
// not the rights of its owner. It asks for no right to the table. A table that does not exist is
// left to Inspect.
func CheckPublisher(ctx context.Context, db Querier, name, schema, table string) error {
	var owner, role string
	var super, ours, published bool
	err := db.QueryRow(ctx, sql.Query("source_owner"), schema, table, name).Scan(&owner, &super, &ours, &role, &published)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("asking who owns the table: %w", err)
	case ours, published, super: // no other role should have a superuser's rights: what it has to run for this role is told later
		return nil
	}
	try := fmt.Sprintf("run wal2vec init as role %s, or as the role that sets pipelines up, once that has the rights of %[1]s", pgname.Identifier(owner))
	return &PublisherError{Role: role, Owner: owner, fault: fault.New(fault.Usage, try,
		"role %s has not the rights of role %s, which owns table %s and alone can publish it",
		pgname.Identifier(role), pgname.Identifier(owner), pgname.Qualified(schema, table))}
}

// EnsurePublication makes the publication carry the table: it creates it for that table alone, or
// adds the table. What it finds and must not change by itself (a row filter, missing operations) is
// a fault of kind Usage. All is done to the table that was looked at, or nothing. The publication's
// comment notes the pipelines that use it; see Use.
func EnsurePublication(ctx context.Context, db Beginner, name string, table change.Table, uses ...Use) error {
	statements, err := PublicationSQL(ctx, db, name, table, uses...)
	if err != nil {
		return err
	}
	if len(statements) == 0 {
		return nil
	}
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		err := pin(ctx, tx, false, table.Schema)
		if err == nil {
			err = CheckName(ctx, tx, table)
		}
		if err != nil {
			return fmt.Errorf("preparing publication %q: %w", name, err)
		}
		for _, step := range statements {
			if err := statement.Run(ctx, tx, step); err != nil {
				if fault.SQLSTATE(err) == "42501" {
					try := "run it as the table's owner with CREATE on the database: " +
						pgname.Script(pgname.Still(table.OID, table.Schema, table.Name), pgname.Pasteable(step))
					return fault.Wrap(err, fault.Usage, try, "preparing publication %q", name)
				}
				return fmt.Errorf("preparing publication %q: %w", name, err)
			}
		}
		return nil
	})
}

// PublicationSQL returns the statements that EnsurePublication would run now, without semicolons;
// none when all is well.
func PublicationSQL(ctx context.Context, db Querier, name string, table change.Table, uses ...Use) ([]string, error) {
	if err := CheckPublicationOwner(ctx, db, name, table.OID); err != nil {
		return nil, err
	}
	p, err := readPublication(ctx, db, name, table)
	if err != nil {
		return nil, err
	}
	noting := false
	for _, use := range uses {
		changed, err := p.use(ctx, db, name, use)
		if err != nil {
			return nil, err
		}
		noting = noting || changed
	}
	statements, err := p.carrySQL(ctx, db, name, table, nil)
	if err == nil && len(statements) == 0 && noting {
		statements = []string{p.noteSQL(name)}
	}
	return statements, err
}

// publicationSQL is PublicationSQL for a publication that is to list these columns where the table
// is added to it; nil for all.
func publicationSQL(ctx context.Context, db Querier, name string, table change.Table, listed []string) ([]string, error) {
	p, err := readPublication(ctx, db, name, table)
	if err != nil {
		return nil, err
	}
	return p.carrySQL(ctx, db, name, table, listed)
}

// carrySQL returns the statements that make the publication carry the table, as publicationSQL
// does.
func (p publication) carrySQL(ctx context.Context, db Querier, name string, table change.Table, listed []string) ([]string, error) {
	quoted := pgname.Identifier(name)
	relation := pgname.Qualified(table.Schema, table.Name)
	if !p.exists {
		var options []string
		if p.partitioned {
			options = append(options, "publish_via_partition_root = true")
		}
		if len(intersection(neededColumns(table), p.publishable)) > 0 {
			options = append(options, "publish_generated_columns = stored")
		}
		statement := fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE ONLY %s", quoted, relation)
		if len(options) > 0 {
			statement += " WITH (" + strings.Join(options, ", ") + ")"
		}
		return []string{statement, p.noteSQL(name, table.OID)}, nil
	}
	if err := p.check(name, table); err != nil {
		return nil, err
	}
	if p.listed {
		return nil, nil
	}
	if p.everything {
		return nil, leftOut(ctx, db, name, table, fault.Usage)
	}
	if listed != nil {
		relation += " (" + pgname.List(listed) + ")"
	}
	return []string{fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE ONLY %s", quoted, relation), p.noteSQL(name, table.OID)}, nil
}

// noteSQL notes that wal2vec published a table: after swaps the publication may list tables that no
// longer have the source table's name, and a teardown takes those out that it finds here, and no
// other. What a user wrote into the comment stays. Only a role with the rights of the publication's
// owner can write it. The function that follows swaps notes its tables in the same words, in the
// last line, and leaves the others, of which one notes pipelines (see Use). Without a table the
// line stays as it is.
func (p publication) noteSQL(name string, oids ...uint32) string {
	words := []string{"wal2vec tables:"}
	for _, noted := range slices.Concat(p.noted, oids) {
		words = append(words, strconv.FormatUint(uint64(noted), 10))
	}
	comment := strings.Join(words, " ")
	switch {
	case len(words) == 1:
		comment = p.comment
	case p.comment != "":
		comment = p.comment + "\n" + comment
	}
	return "COMMENT ON PUBLICATION " + pgname.Identifier(name) + " IS " + pgname.Literal(comment)
}

// CheckPublicationOwner returns a fault of kind Usage where the publication is there and belongs to
// a role that could take the table out of it, or add others, and has no business with the table:
// one that is neither this role, nor a superuser, nor has the rights of the table's owner.
func CheckPublicationOwner(ctx context.Context, db Querier, name string, oid uint32) error {
	var owner, tableOwner string
	var trusted, shared bool
	err := db.QueryRow(ctx, sql.Query("source_publisher"), name, oid).Scan(&owner, &tableOwner, &trusted, &shared)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("asking who owns publication %q: %w", name, err)
	case trusted:
		return nil
	}
	try := fmt.Sprintf("ALTER PUBLICATION %s OWNER TO %s; -- if it is this pipeline's; if not, set another name: source.publication",
		pgname.Identifier(name), pgname.Identifier(tableOwner))
	if shared { // the table's owner could take out of it what other programs read
		try = ofItsOwn
	}
	return fault.New(fault.Usage, try, "publication %q belongs to role %s, which has not the rights of role %s, who owns the table",
		name, pgname.Identifier(owner), pgname.Identifier(tableOwner))
}

// PublicationExists reports whether there is a publication of that name.
func PublicationExists(ctx context.Context, db Querier, name string) (bool, error) {
	p, err := readPublication(ctx, db, name, change.Table{})
	return p.exists, err
}

// CheckPublication returns a fault of kind Gap when the publication does not carry the table by its
// object id: a publication follows a table that was renamed away, silently. It returns one of kind
// Usage when it carries only part of the changes. See also CheckName.
func CheckPublication(ctx context.Context, db Querier, name string, table change.Table) error {
	if err := CheckName(ctx, db, table); err != nil {
		return err
	}
	err := checkPublished(ctx, db, name, table)
	if err != nil {
		if replaced := CheckName(ctx, db, table); replaced != nil { // what was found is of a table that has been replaced since
			return replaced
		}
	}
	return err
}

func checkPublished(ctx context.Context, db Querier, name string, table change.Table) error {
	p, err := readPublication(ctx, db, name, table)
	switch {
	case err != nil:
		return err
	case !p.exists:
		return fault.New(fault.Gap, resync, "publication %q does not exist", name)
	}
	if err := p.check(name, table); err != nil {
		return err
	}
	if !p.listed && p.everything {
		return leftOut(ctx, db, name, table, fault.Gap)
	}
	if !p.listed {
		return fault.New(fault.Gap, resync, "publication %q does not carry table %s.%s", name, table.Schema, table.Name)
	}
	return nil
}

// publication is the row of source_publication.
type publication struct {
	exists                            bool
	insert, update, deletes, truncate bool
	viaRoot, generatedStored          bool
	listed, filtered                  bool
	shared                            bool     // it carries more than this table
	columns                           []string // of a column list; nil without one
	partitioned                       bool
	generated                         []string // the table's generated columns
	publishable                       []string // those of them that a publication can carry
	comment                           string   // without the line that notes tables
	noted                             []uint32 // tables that wal2vec published; see noteSQL
	everything                        bool     // for all tables: none can be added to it
}

func readPublication(ctx context.Context, db Querier, name string, table change.Table) (publication, error) {
	var p publication
	err := db.QueryRow(ctx, sql.Query("source_publication"), name, table.OID).Scan(&p.exists, &p.insert, &p.update, &p.deletes, &p.truncate,
		&p.viaRoot, &p.generatedStored, &p.listed, &p.filtered, &p.columns, &p.partitioned, &p.generated, &p.publishable, &p.comment, &p.noted,
		&p.everything, &p.shared)
	if err != nil {
		return p, fmt.Errorf("reading publication %q: %w", name, err)
	}
	return p, nil
}

func neededColumns(table change.Table) []string {
	return append(markingColumns(table), table.Template.Columns()...)
}

// markingColumns are those without which a change cannot be told from another: key and soft-delete
// mark.
func markingColumns(table change.Table) []string {
	var columns []string
	for _, key := range table.Key {
		columns = append(columns, key.Name)
	}
	if table.SoftDelete != "" {
		columns = append(columns, table.SoftDelete)
	}
	return columns
}

// loggedColumns are those that must be in the log: a generated column of the template is read by
// key where the log lacks it.
func (p publication) loggedColumns(table change.Table) []string {
	columns := markingColumns(table)
	for _, c := range table.Template.Columns() {
		if !slices.Contains(p.generated, c) {
			columns = append(columns, c)
		}
	}
	return columns
}

// intersection returns the columns that are also in the other list.
func intersection(columns, other []string) []string {
	var out []string
	for _, c := range columns {
		if slices.Contains(other, c) {
			out = append(out, c)
		}
	}
	return out
}

// ofItsOwn is the advice where a change would give those who read the publication, too, what they
// do not get by it now, or take it from them.
const ofItsOwn = "name a publication of its own: source.publication; where the pipeline is set up already, put back what was changed of this one"

// orOfItsOwn stands behind advice to alter a publication that lists this table alone: other
// programs may read the table by it.
const orOfItsOwn = " -- or, where another program reads it as it is, name a publication of its own: source.publication"

// check refuses a publication that leaves out changes of the table.
func (p publication) check(name string, table change.Table) error {
	relation := pgname.Qualified(table.Schema, table.Name)
	if !p.insert || !p.update || !p.deletes || !p.truncate {
		return fault.New(fault.Usage, p.setSQL(name, "publish = 'insert, update, delete, truncate'"),
			"publication %q does not publish all of insert, update, delete and truncate", name)
	}
	if p.filtered {
		return fault.New(fault.Usage, p.listSQL(name, table), "publication %q filters the rows of %s", name, relation)
	}
	if p.columns != nil {
		if lacking := p.lacking(table); len(lacking) > 0 {
			return fault.New(fault.Usage, p.listSQL(name, table), "publication %q leaves out column %q of %s", name, lacking[0], relation)
		}
	} else if needed := intersection(markingColumns(table), p.generated); len(needed) > 0 && !p.generatedStored {
		return fault.New(fault.Usage, p.setSQL(name, "publish_generated_columns = stored"),
			"publication %q leaves out generated column %q of %s", name, needed[0], relation)
	}
	if p.partitioned && !p.viaRoot {
		return fault.New(fault.Usage, p.setSQL(name, "publish_via_partition_root = true"),
			"publication %q names the partitions of %s, not the table", name, relation)
	}
	return nil
}

// lacking are the columns that must be in the log and that the publication's list for the table
// leaves out.
func (p publication) lacking(table change.Table) []string {
	return slices.DeleteFunc(p.loggedColumns(table), func(c string) bool { return slices.Contains(p.columns, c) })
}

// setSQL is the advice to set an option, which goes for each table of the publication.
func (p publication) setSQL(name, option string) string {
	if p.shared {
		return ofItsOwn
	}
	return pgname.Script("ALTER PUBLICATION "+pgname.Identifier(name)+" SET ("+option+")") + orOfItsOwn
}

// listSQL is the advice to list the table without a filter and with the columns that lack. SET
// TABLE would take the other tables out, and without a list publish the columns that were left out
// on purpose; ADD TABLE alone is refused for a table that is there.
func (p publication) listSQL(name string, table change.Table) string {
	list := ""
	if p.columns != nil {
		list = " (" + pgname.List(append(slices.Clone(p.columns), p.lacking(table)...)) + ")"
	}
	alter := func(verb, list string) string {
		return "ALTER PUBLICATION " + pgname.Identifier(name) + " " + verb + " TABLE ONLY " + pgname.Qualified(table.Schema, table.Name) + list
	}
	return pgname.Script(pgname.Still(table.OID, table.Schema, table.Name), alter("DROP", ""), alter("ADD", list)) + orOfItsOwn
}
