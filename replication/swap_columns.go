package replication

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// PublishedColumns returns the columns that the publication lists for a table, by its object id,
// sorted; nil where it has no list of them.
func PublishedColumns(ctx context.Context, db Querier, publication string, oid uint32) (columns []string, err error) {
	if err := db.QueryRow(ctx, sql.Query("source_published_columns"), publication, oid).Scan(&columns); err != nil {
		return nil, fmt.Errorf("reading the columns of publication %q: %w", publication, err)
	}
	return columns, nil
}

// listing is how the publication is to carry the new table.
type listing struct {
	columns []string // nil for all
	against string   // why it cannot be carried so; empty where it can
}

// listing returns the list of columns that the new table gets in the publication, where the one of
// before was known to have a list (nil: it was not). A swap must not publish more than was
// published.
func (s Swap) listing(ctx context.Context, db Querier, known []string) (l listing, err error) {
	var lists int
	var filtered bool
	var missing, uncovered []string
	err = db.QueryRow(ctx, sql.Query("source_swap_columns"), s.Publication, s.Is, pgname.Catalogue(s.Function...), known).
		Scan(&lists, &filtered, &l.columns, &missing, &uncovered)
	if err != nil {
		return l, fmt.Errorf("reading the columns of publication %q: %w", s.Publication, err)
	}
	if len(l.columns) == 0 {
		l.columns = nil
	}
	switch {
	case filtered:
		l.against = "filters rows"
	case lists > 1:
		l.against = "lists different columns for tables of its owner"
	case l.columns == nil:
	case !containsAll(l.columns, s.Table.Key):
		l.against = "leaves out the key"
	case len(missing) > 0:
		l.against = "lists column " + pgname.Identifier(missing[0]) + ", which the new table has not"
	case len(uncovered) > 0:
		l.against = "leaves out column " + pgname.Identifier(uncovered[0]) + " of the replica identity, so that an UPDATE would fail"
	}
	return l, nil
}

// publish adds to the steps those that have the publication carry the new table, with the list of
// columns that the one of before had.
func (s Swap) publish(ctx context.Context, db Querier, i *inspection, left *steps) error {
	add, err := publicationSQL(ctx, db, s.Publication, i.table, nil)
	if err != nil || len(add) == 0 {
		left.rest = append(left.rest, add...)
		return err
	}
	known := s.Listed
	if known == nil {
		if known, err = s.listedByFunction(ctx, db, i); err != nil {
			return err
		}
	}
	l, err := s.listing(ctx, db, known)
	if err != nil {
		return err
	}
	if len(i.lacks.identities) > 0 && strings.HasPrefix(l.against, "leaves out column ") { // it will be the key
		l.against = ""
	}
	if l.against != "" {
		left.against, l.columns = l.against, neededColumns(i.table)
	}
	if add, err = publicationSQL(ctx, db, s.Publication, i.table, l.columns); err != nil {
		return err
	}
	left.rest = append(left.rest, add...)
	return nil
}

const bodyListed = "listed_columns CONSTANT text[] := "

// listedByFunction returns those of the new table's columns that the function lists; nil where it
// lists none.
func (s Swap) listedByFunction(ctx context.Context, db Querier, i *inspection) ([]string, error) {
	rights, err := s.Rights(ctx, db)
	if err != nil || !strings.Contains(rights.body, bodyListed+"ARRAY[") {
		return nil, err
	}
	all, err := i.readColumns(ctx)
	if err != nil {
		return nil, err
	}
	_, list, _ := strings.Cut(rights.body, bodyListed+"ARRAY[")
	list, _, _ = strings.Cut(list, "]::text[];\n")
	listed := []string{}
	for name := range all {
		if strings.Contains(", "+list+", ", ", "+pgname.Literal(name)+", ") {
			listed = append(listed, name)
		}
	}
	slices.Sort(listed)
	return listed, nil
}

// Lists reports whether the function would have the publication list these columns of a new table;
// nil for all.
func (r SwapRights) Lists(columns []string) bool {
	if columns == nil {
		return !strings.Contains(r.body, bodyListed+"ARRAY[")
	}
	return strings.Contains(r.body, bodyListed+"ARRAY["+strings.Join(pgname.Literals(columns), ", ")+"]::text[];\n")
}

// forgets reports whether the function would publish more than the table of before was seen to: a
// list that came after the function, of a table that has been dropped since.
func (s Swap) forgets(ctx context.Context, db Querier, r SwapRights) (bool, error) {
	if s.Listed == nil || r.Lists(s.Listed) {
		return false, nil
	}
	l, err := s.listing(ctx, db, nil)
	return err == nil && l.against == "" && l.columns == nil, err
}
