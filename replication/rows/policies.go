package rows

import (
	"context"
	"fmt"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// lookForPolicies notes whether row policies of the table apply to this role. Those that come later
// make its reads fail.
func (r *Reader) lookForPolicies(ctx context.Context) error {
	policed, err := r.one(ctx, sql.Query("source_policed"), r.tableName()...)
	if err != nil {
		return fmt.Errorf("asking for the row policies of %s: %w", r.name(), err)
	}
	r.policed = policed == "t"
	return nil
}

// hidden tells of a read that the server refused whether row policies do it, which may have come
// since the session began: the advice is that of a start, which refuses such a table
// (replication.Inspect). It returns true where they let this role see every row: the read is to be
// made again.
func (r *Reader) hidden(ctx context.Context) (again bool, err error) {
	before := r.policed
	if err := r.lookForPolicies(ctx); err != nil || !r.policed {
		return false, err
	}
	var opened bool
	var hinders string
	_, err = r.run(ctx, sql.Query("source_policies"), func(row rawRow) error {
		opened, hinders = string(row[0]) == "t", string(row[1])
		return nil
	}, r.tableName()...)
	role, table, policy := pgname.Identifier(r.role), pgname.Qualified(r.opts.Table.Schema, r.opts.Table.Name), pgname.Identifier(hinders)
	own := pgname.Identifier(r.role + "_reads")
	switch {
	case err != nil:
		return false, fmt.Errorf("reading the row policies of %s: %w", r.name(), err)
	case hinders != "":
		return false, fault.New(fault.Usage,
			fmt.Sprintf("name in policy %s the roles that it is for, this one not among them: ALTER POLICY %[1]s ON %s TO ...", policy, table),
			"policy %s of %s may hide rows from role %s, or runs functions of another role in its sessions", policy, table, role)
	case !opened:
		still := pgname.Still(r.opts.Table.OID, r.opts.Table.Schema, r.opts.Table.Name)
		opens := fmt.Sprintf("CREATE POLICY %s ON %s FOR SELECT TO %s USING (true)", own, table, role)
		try := pgname.Script(still, opens) + " -- if the role is to see every row"
		return false, fault.New(fault.Usage, try, "row security hides rows of %s from role %s", table, role)
	default:
		return !before, nil
	}
}
