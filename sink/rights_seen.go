package sink

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// PostgreSQL warns, or says nothing, where a GRANT or REVOKE changed less than it says: a right
// that another role gave is not taken by the owner's REVOKE. So what was said is looked at in the
// same transaction, by the catalogue.

// seen returns a fault of kind Usage where a grant that was run is not what the catalogue has; st
// is what it was run by.
func (s *Sink) seen(ctx context.Context, q querier, st State, g Grant, others Access) error {
	if g.Access == Nothing {
		return s.seenTaken(ctx, q, st, g.Role, others)
	}
	names, needs := make([]string, 0, len(shared)), []string{}
	add := func(name string, rights ...string) {
		names, needs = append(names, name), append(needs, strings.Join(rights, ","))
	}
	for _, n := range s.StreamNeeds(st) {
		if g.Access == Read {
			n.Rights = []string{"SELECT"}
		}
		add(pgname.Catalogue(s.schema, n.Table), n.Rights...)
	}
	rows, err := q.Query(ctx, s.query("lacks"), g.Role, names, needs)
	if err != nil {
		return s.explain(err, "looking at the rights of a role")
	}
	var right, thing string
	_, err = pgx.ForEachRow(rows, []any{&right, &thing}, func() error {
		return fault.New(fault.Usage, "run it as the role that owns wal2vec's tables", "role %q was not given %s on %s", g.Role, right, thing)
	})
	return err
}

// seenTaken looks at what a role was given of this pipeline, and where it has no other (others) of
// what pipelines share.
func (s *Sink) seenTaken(ctx context.Context, q querier, st State, role string, others Access) error {
	tables := slices.Concat([]string{"ledger_" + s.pipeline, "dead_letter_" + s.pipeline}, st.vectorTables())
	if others == Nothing {
		tables = append(tables, shared...)
	}
	rows, err := q.Query(ctx, s.query("left"), s.schema, tables, st.ViewSchema, st.ViewName, role, others == Nothing)
	if err != nil {
		return s.explain(err, "looking at the rights of a role")
	}
	var right, thing, grantor string
	_, err = pgx.ForEachRow(rows, []any{&right, &thing, &grantor}, func() error {
		return fault.New(fault.Usage, "have role "+pgname.Identifier(grantor)+", which gave it, take it back, and run this again",
			"role %q keeps %s on %s, which role %q gave it: nothing was taken", role, right, thing, grantor)
	})
	return err
}
