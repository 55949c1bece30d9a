package replication

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// key finds the unique index on exactly the key columns. Without one, two rows could share a key,
// and the order of their changes would not be the order of their visibility.
func (i *inspection) key(ctx context.Context) error {
	rows, err := i.db.Query(ctx, sql.Query("source_unique_indexes"), i.table.OID)
	if err != nil {
		return fmt.Errorf("inspecting the indexes of %s: %w", i.name, err)
	}
	var index string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&index, &columns}, func() error {
		if i.index == "" && sameSet(columns, i.opts.Key) {
			i.index = index
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("inspecting the indexes of %s: %w", i.name, err)
	}
	if i.index == "" && i.lacks != nil {
		i.index, i.lacks.index = newIndexName(i.table.OID), true
		return nil
	}
	if i.index == "" {
		list := pgname.List(i.opts.Key)
		return fault.New(fault.Usage, fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s);", i.name, list)+byOwner,
			"%s has no unique index on exactly (%s) that is neither partial nor deferrable", i.name, list)
	}
	return nil
}

// newIndexName is the name of an index that is to be made on the key of a table. Any role that may
// create in the schema could take a name that it can foresee, and so keep the index from being
// made. By its form a teardown knows it; the function that prepares tables gives names of the same.
func newIndexName(oid uint32) string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // it never fails
	return fmt.Sprintf("wal2vec_key_%d_%x", oid, random)
}

func sameSet(a, b []string) bool {
	x, y := slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(x, y)
}

// identity checks that the old row of an UPDATE or DELETE carries the key. A table without any
// identity must not even get into a publication: the application's own UPDATE and DELETE would fail
// from then on.
func (i *inspection) identity(ctx context.Context) error {
	rows, err := i.db.Query(ctx, sql.Query("source_identities"), i.table.OID)
	if err != nil {
		return fmt.Errorf("inspecting the replica identity of %s: %w", i.name, err)
	}
	var oid uint32
	var schema, name, kind string
	var columns []string
	var refusal error
	_, err = pgx.ForEachRow(rows, []any{&oid, &schema, &name, &kind, &columns}, func() error {
		relation := pgname.Qualified(schema, name)
		switch holds := kind == "f" || containsAll(columns, i.opts.Key); {
		case !holds && i.lacks != nil:
			i.lacks.identities = append(i.lacks.identities, i.identitySQL(oid, relation))
		case !holds && refusal == nil:
			refusal = i.identityFault(oid, relation, kind)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("inspecting the replica identity of %s: %w", i.name, err)
	}
	return refusal
}

// identitySQL gives the table, or a partition of it, an identity that holds the key.
func (i *inspection) identitySQL(oid uint32, relation string) string {
	if oid != i.table.OID { // a partition's index has a name of its own
		return fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL", relation)
	}
	return fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY USING INDEX %s", relation, pgname.Identifier(i.index))
}

func (i *inspection) identityFault(oid uint32, relation, kind string) error {
	repair := i.identitySQL(oid, relation) + ";" + byOwner
	what := map[string]string{"d": "default, without a primary key that holds the key", "n": "nothing", "i": "an index that does not hold the key"}[kind]
	return fault.New(fault.Usage, repair, "the replica identity of %s is %s: updates and deletes could not name their row", relation, what)
}

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}
