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

// Removal is what was taken back in the source, as the statements that did it, and what stays
// there, each with the statement that removes it.
type Removal struct {
	Done, Left []string
	// Gone says of pipelines that the publication's comment noted that their slots are not there.
	Gone []string
}

// Removed says what a removal is to remove.
type Removed struct {
	Swap
	// Roles are those that might have been given rights, besides the callers of the function.
	Roles []string
	// Use is the pipeline's. What the publication's comment gives to others stays; see Use.
	Use Use
}

// noted is a table that wal2vec published.
type noted struct {
	oid          uint32
	schema, name string
	listed       bool
	indexes      []string // that wal2vec made on the key
	identifies   bool     // one of them is the table's replica identity
}

func (s Swap) noted(ctx context.Context, db Querier, also ...uint32) ([]noted, error) {
	rows, err := db.Query(ctx, sql.Query("source_noted"), s.Publication, also, s.Table.ReadColumns())
	if err != nil {
		return nil, fmt.Errorf("looking for the tables of publication %q: %w", s.Publication, err)
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (n noted, err error) {
		return n, row.Scan(&n.oid, &n.schema, &n.name, &n.listed, &n.indexes, &n.identifies)
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the tables of publication %q: %w", s.Publication, err)
	}
	return tables, nil
}

// Remove takes out of the source what init, streams and the swap function made there, but for the
// slot: the function, what roles were given for it on the table and on those that had its name
// before, and the publication. What others made or gave stays, and so does an index on the table's
// key, on which others may rely; Left names it. Where the publication's comment notes another
// pipeline, the publication stays as it is but for the note of this one; where that has the same
// name, so do function and rights. A note counts only while its slot is there: any owner of the
// publication may write one, and a dump brings those of another database. Gone names the rest. What
// this role may not do is a fault of kind Usage, but for rights to columns of a table whose owner's
// rights it has not: those are in Left.
func Remove(ctx context.Context, db Beginner, r Removed) (Removal, error) {
	var out Removal
	present, err := TableOID(ctx, db, r.Table.Schema, r.Table.Table)
	if err != nil {
		return out, err
	}
	tables, err := r.noted(ctx, db, present)
	if err != nil {
		return out, err
	}
	p, err := readPublication(ctx, db, r.Publication, change.Table{})
	if err != nil {
		return out, err
	}
	_, uses := splitUses(p.comment)
	noted := r.Use.without(uses)
	_, there, err := readers(ctx, db, r.Publication, noted)
	if err != nil {
		return out, err
	}
	others := slices.DeleteFunc(slices.Clone(noted), func(other notedUse) bool { return !slices.Contains(there, other.slot()) })
	for _, other := range noted {
		if !slices.Contains(others, other) {
			out.Gone = append(out.Gone, fmt.Sprintf(
				"pipeline %s is noted as a reader of publication %s by slot %s, but there is no such slot; "+
					"where that pipeline is to go on, run wal2vec init for it",
				other.pipeline(), pgname.Identifier(r.Publication), other.slot()))
		}
	}
	namesake := slices.IndexFunc(others, func(other notedUse) bool { return other.pipeline() == r.Use.Pipeline })
	if namesake >= 0 {
		out.Left = append(out.Left, fmt.Sprintf(
			"function %s(), and what roles were given for it: pipeline %s of another sink or schema (slot %s) has them too",
			pgname.Catalogue(r.Function...), r.Use.Pipeline, others[namesake].slot()))
	} else if err := r.function(ctx, db, &out); err != nil {
		return out, err
	}
	if len(others) > 0 {
		return out, r.forget(ctx, db, p, others, &out)
	}
	if err := dropPublication(ctx, db, r.Publication, tables, &out); err != nil {
		return out, err
	}
	for _, t := range tables {
		if len(t.indexes) == 0 {
			continue
		}
		table := pgname.Qualified(t.schema, t.name)
		var statements []string
		if t.identifies {
			statements = []string{"ALTER TABLE " + table + " REPLICA IDENTITY DEFAULT"}
		}
		for _, index := range t.indexes {
			statements = append(statements, "DROP INDEX "+pgname.Qualified(t.schema, index))
		}
		out.Left = append(out.Left, fmt.Sprintf("the index on the key of table %s, if no other program needs it: %s",
			table, pgname.Script(statements...)+byOwner))
	}
	return out, nil
}

// forget leaves the publication to the other pipelines that read it, without the note of this one.
func (r Removed) forget(ctx context.Context, db Querier, p publication, others []notedUse, out *Removal) error {
	names := make([]string, len(others))
	for i, other := range others {
		names[i] = fmt.Sprintf("pipeline %s (slot %s)", other.pipeline(), other.slot())
	}
	quoted := pgname.Identifier(r.Publication)
	out.Left = append(out.Left, fmt.Sprintf("publication %s, which goes on as it is for %s; where none of them is left: DROP PUBLICATION %s;",
		quoted, strings.Join(names, ", "), quoted))
	rest, uses := splitUses(p.comment)
	if len(uses) == len(others) {
		return nil
	}
	p.comment = joinUses(rest, others)
	return runAsOwner(ctx, db, r.Publication, []string{p.noteSQL(r.Publication)}, out)
}

// function drops the swap function, and takes back what roles were given.
func (r Removed) function(ctx context.Context, db Beginner, out *Removal) error {
	now, err := r.present(ctx, db)
	if err != nil {
		return err
	}
	roles := slices.Clone(r.Roles)
	drop := "DROP FUNCTION " + pgname.Catalogue(r.Function...) + "()"
	if now.exists && r.made(now) {
		roles = slices.Concat(roles, now.roles, now.others)
	}
	var statements []string
	slices.Sort(roles)
	for _, role := range slices.Compact(roles) {
		revoke, err := RevokeStreamSQL(ctx, db, r.Swap, role)
		if fault.KindOf(err) == fault.Usage {
			out.Left = append(out.Left, fmt.Sprintf("%s: %s", err, fault.Try(err)))
			continue
		}
		if err != nil {
			return err
		}
		statements = append(statements, revoke...)
		kept, err := Kept(ctx, db, r.Swap, role)
		if err != nil {
			return err
		}
		out.Left = append(out.Left, kept...)
	}
	switch {
	case now.exists && r.made(now):
		statements = append(statements, drop)
	case now.exists:
		out.Left = append(out.Left, fmt.Sprintf("function %s(), which %s; where no other pipeline has it: %s;",
			pgname.Catalogue(r.Function...), r.whose(now), drop))
	}
	out.Done = append(out.Done, statements...)
	return r.inOne(ctx, db, statements, takingBack, nil)
}

// dropPublication drops the publication if it exists. Where it carries tables besides ours it
// stays, without ours.
func dropPublication(ctx context.Context, db Querier, name string, ours []noted, out *Removal) error {
	oids := make([]uint32, len(ours))
	for i, t := range ours {
		oids[i] = t.oid
	}
	var kept, annotated bool
	var others []string
	var comment string
	err := db.QueryRow(ctx, sql.Query("source_publication_others"), name, oids).Scan(&kept, &others, &comment, &annotated)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("reading publication %q: %w", name, err)
	}
	quoted := pgname.Identifier(name)
	statements := []string{"DROP PUBLICATION IF EXISTS " + quoted}
	if kept {
		statements = nil
		for _, t := range ours {
			if t.listed {
				statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s", quoted, pgname.Qualified(t.schema, t.name)))
			}
		}
		if annotated {
			statements = append(statements, "COMMENT ON PUBLICATION "+quoted+" IS "+pgname.Literal(comment))
		}
		carries := "all tables, or all of a schema"
		if len(others) > 0 {
			carries = strings.Join(others, ", ")
		}
		out.Left = append(out.Left, fmt.Sprintf("publication %s, for %s; where no other program reads it: DROP PUBLICATION %s;", quoted, carries, quoted))
	}
	return runAsOwner(ctx, db, name, statements, out)
}

func runAsOwner(ctx context.Context, db Querier, name string, statements []string, out *Removal) error {
	for _, step := range statements {
		if err := statement.Run(ctx, db, step); err != nil {
			if fault.SQLSTATE(err) == "42501" {
				return fault.Wrap(err, fault.Usage, "run it as the publication's owner", "dropping publication %q", name)
			}
			return fmt.Errorf("dropping publication %q: %w", name, err)
		}
	}
	out.Done = append(out.Done, statements...)
	return nil
}

// ColumnsLeft says which columns of a table a role may read by grants to the columns, with the
// statements that take them, one for each role that gave them; empty where there are none, or where
// that cannot be asked. A superuser may run them all.
func ColumnsLeft(ctx context.Context, conn *pgx.Conn, schema, table, role string) string {
	rows, err := conn.Query(ctx, sql.Query("source_columns_left"), schema, table, role)
	if err != nil {
		return ""
	}
	to := pgname.Identifier(role)
	var statements []string
	var grantor string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&grantor, &columns}, func() error {
		revoke := "REVOKE SELECT (" + pgname.List(columns) + ") ON TABLE " + pgname.Qualified(schema, table) + " FROM " + to + " CASCADE"
		statements = append(statements, by(grantor, revoke)...)
		return nil
	})
	if err != nil || len(statements) == 0 {
		return ""
	}
	return "SELECT of role " + to + " on columns that init did not give: " + pgname.Script(statements...)
}

// by has a REVOKE take what a role gave: it takes only what its own role gave, and says nothing
// where that is nothing. GRANTED BY may name no other role on an object. Without a grantor the
// owner gave it, whose grants a superuser's REVOKE takes; such a statement comes before the others.
func by(grantor, revoke string) []string {
	if grantor == "" {
		return []string{revoke}
	}
	return []string{"SET LOCAL ROLE " + pgname.Identifier(grantor), revoke}
}
