package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// ReadColumns are the columns that a stream reads: those of key, template and soft delete, each once.
func (o InspectOptions) ReadColumns() []string {
	columns := slices.Concat(o.Key, o.Template.Columns())
	if o.SoftDelete != "" {
		columns = append(columns, o.SoftDelete)
	}
	var once []string
	for _, c := range columns {
		if !slices.Contains(once, c) {
			once = append(once, c)
		}
	}
	return once
}

// StreamGrantsSQL returns the statements that let roles read the columns that a stream reads of the present table, and nothing else of it; none
// where they may. It grants nothing twice: a column whose rights change is looked at again by the stream.
func StreamGrantsSQL(ctx context.Context, db Querier, s Swap, roles []string) ([]string, error) {
	var statements []string
	for _, role := range roles {
		rows, err := db.Query(ctx, sql.Query("source_stream_lacks"), s.Is, s.Table.ReadColumns(), role)
		if err != nil {
			return nil, fmt.Errorf("asking what role %q may read: %w", role, err)
		}
		columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if fault.SQLSTATE(err) == "42704" {
			return nil, fault.Wrap(err, fault.Usage, "create the role first: deploy/roles.sql", "asking what role %q may read", role)
		}
		if err != nil {
			return nil, fmt.Errorf("asking what role %q may read: %w", role, err)
		}
		if len(columns) > 0 {
			statements = append(statements, grantSQL(pgname.Qualified(s.Table.Schema, s.Table.Table), pgname.Identifier(role), columns))
		}
	}
	return statements, nil
}

// grantSQL lets a role read columns; table and role are quoted.
func grantSQL(table, role string, columns []string) string {
	return fmt.Sprintf("GRANT SELECT (%s) ON TABLE %s TO %s", pgname.List(columns), table, role)
}

// RevokeStreamSQL returns the statements that take back from roles what init --grant-stream gave them in the source: the right to call the
// function, and to read columns of the table one by one, but for those that another pipeline's function gives them too. A right to the whole
// table, to its schema or to the server was given by somebody else, and stays. None where they have nothing; a role that does not exist has
// nothing.
func RevokeStreamSQL(ctx context.Context, db Querier, s Swap, roles ...string) ([]string, error) {
	var statements []string
	for _, role := range roles {
		var columns, others []string
		var ours, calls bool
		err := db.QueryRow(ctx, sql.Query("source_stream_granted"), s.Table.Schema, s.Table.Table, s.Function.Sanitize(), role).
			Scan(&columns, &ours, &calls, &others)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("asking what role %q was given: %w", role, err)
		}
		quoted, table := pgname.Identifier(role), pgname.Qualified(s.Table.Schema, s.Table.Table)
		if calls {
			statements = append(statements, fmt.Sprintf("REVOKE ALL ON FUNCTION %s() FROM %s", s.Function.Sanitize(), quoted))
		}
		for _, body := range others {
			if ofTable(body, s.Table.Schema, s.Table.Table) {
				columns = notRead(body, columns)
			}
		}
		if len(columns) == 0 {
			continue
		}
		if !ours {
			return nil, fault.New(fault.Usage, fmt.Sprintf("REVOKE SELECT (%s) ON TABLE %s FROM %s;", pgname.List(columns), table, quoted),
				"only the owner of table %s can take back what role %q may read of it", table, role)
		}
		statements = append(statements, fmt.Sprintf("REVOKE SELECT (%s) ON TABLE %s FROM %s", pgname.List(columns), table, quoted))
	}
	return statements, nil
}

// RevokeStream runs the statements of RevokeStreamSQL in one transaction. What only the table's owner may do is a fault of kind Usage.
func RevokeStream(ctx context.Context, conn *pgx.Conn, s Swap, roles ...string) error {
	statements, err := RevokeStreamSQL(ctx, conn, s, roles...)
	if err != nil || len(statements) == 0 {
		return err
	}
	return inOne(ctx, conn, statements, "taking back what roles were given in the source")
}

// DropSwapFunction drops the function, if it exists, and takes back what its callers were given for it; of a table that is not this role's to
// act for, they keep their rights to columns.
func DropSwapFunction(ctx context.Context, conn Beginner, s Swap) error {
	now, err := s.present(ctx, conn)
	if err != nil || !now.exists {
		return err
	}
	statements, err := RevokeStreamSQL(ctx, conn, s, now.roles...)
	if err != nil && fault.KindOf(err) != fault.Usage {
		return err
	}
	statements = append(statements, "DROP FUNCTION "+s.Function.Sanitize()+"()")
	return inOne(ctx, conn, statements, "dropping the function that follows swapped tables")
}
