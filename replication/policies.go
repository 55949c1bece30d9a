package replication

import (
	"context"
	"fmt"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// Policies are what the row policies of a table leave the role of a connection to which they apply.
type Policies struct {
	// Opened says whether one lets it see every row.
	Opened bool
	// Hinders is one that may hide rows all the same, or calls a function of another role; empty
	// where there is none.
	Hinders string
}

// ReadPolicies asks for them.
func ReadPolicies(ctx context.Context, db Querier, schema, table string) (p Policies, err error) {
	var setting string // of this statement alone
	if err := db.QueryRow(ctx, sql.Query("source_policies"), schema, table).Scan(&p.Opened, &p.Hinders, &setting); err != nil {
		return p, fmt.Errorf("reading the row policies of %s.%s: %w", schema, table, err)
	}
	return p, nil
}

// OpenRowsSQL are the statements that let a role see every row of a table where policies hide some.
// BYPASSRLS would do that too, and would open every other table to it that it may read, those of
// wal2vec among them, where policies keep the pipelines apart.
func OpenRowsSQL(oid uint32, schema, table, role string) []string {
	return []string{pgname.Still(oid, schema, table), fmt.Sprintf("CREATE POLICY %s ON %s FOR SELECT TO %s USING (true)",
		pgname.Identifier(role+"_reads"), pgname.Qualified(schema, table), pgname.Identifier(role))}
}

// policies refuses a table of which policies may hide rows from this role: the stream would see
// them, since no policy applies to the log.
func (i *inspection) policies(ctx context.Context) error {
	p, err := ReadPolicies(ctx, i.db, i.opts.Schema, i.opts.Table)
	hinders := pgname.Identifier(p.Hinders)
	switch {
	case err != nil:
		return err
	case p.Hinders != "":
		const try = "name in policy %s the roles that it is for, this one not among them: ALTER POLICY %[1]s ON %s TO ..."
		return fault.New(fault.Usage, fmt.Sprintf(try, hinders, i.name),
			"policy %s of %s may hide rows from role %s, or runs functions of another role in its sessions", hinders, i.name, i.role())
	case !p.Opened:
		try := pgname.Script(OpenRowsSQL(i.table.OID, i.opts.Schema, i.opts.Table, i.user)...) + " -- if the role is to see every row"
		if i.apart {
			try = change.ReadApart
		}
		return &HiddenError{fault.New(fault.Usage, try,
			"row security hides rows of %s from role %s: the stream would see them, a backfill would not", i.name, i.role())}
	default:
		return nil
	}
}

// HiddenError is a fault of kind Usage: no policy lets the role see every row.
type HiddenError struct{ refusal error }

func (e *HiddenError) Error() string { return e.refusal.Error() }

func (e *HiddenError) Unwrap() error { return e.refusal }
