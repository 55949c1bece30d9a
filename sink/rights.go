package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// Access is what a role may do.
type Access string

// The accesses: all that stream and backfill do to the sink, reading for search and status, and
// nothing, which takes back what was given.
const (
	Write   Access = "write"
	Read    Access = "read"
	Nothing Access = "nothing"
)

// Grant gives a role access to this pipeline's tables and view, and to this pipeline's rows of the
// tables that pipelines share. Tables of generations that are made later get the rights of the
// ledger.
type Grant struct {
	Role   string
	Access Access
	// Others is what the role may do to other pipelines of the schema. Roles alone tells it.
	Others Access
}

// shared are the tables that pipelines share. In all but schema_version row policies let a role see
// the rows of the pipelines whose ledger it may read.
var shared = []string{"schema_version", "pipeline", "generation", "stream_state", "backfill", "shape"}

// sequences are those of the tables that pipelines share. No role needs a right on one.
var sequences = []string{"backfill_id_seq"}

// moved are the columns that streams and backfills update in the tables that pipelines share. What
// a pipeline's row names otherwise is its owner's to set: the owner's commands act on it with the
// owner's rights. A right on the whole table would also let one pipeline's role lock it, and stop
// the other pipelines.
var moved = []struct {
	table   string
	columns []string
}{
	{"pipeline", []string{
		"slot", "epoch", "watermark", "truncated_epoch", "truncated_at", "partial_until", "owner", "timeline", "system_id", "source_oid",
		"last_lsn", "last_xid", "last_committed_at",
	}},
	{"generation", []string{"precisions"}},
	{"backfill", []string{
		"token", "cursor", "processed", "written", "unchanged", "superseded", "failed", "swept", "swap", "open", "outcome", "updated_at",
	}},
	{"stream_state", []string{"oldest_pending", "reported_at", "gap"}},
	{"shape", []string{"marks"}},
}

// begun are the shared tables into which a stream writes its pipeline's row.
var begun = []string{"stream_state", "shape"}

// opened are the columns with which a job begins. Not its number: who takes the next numbers by
// hand keeps others from opening jobs.
var opened = []string{"pipeline", "mode", "row_limit", "resync", "started_epoch", "started_lsn", "generation"}

// Needed are the rights that a stream's role needs on one of wal2vec's tables: some on the whole
// table, others to insert or update some columns.
type Needed struct {
	Table          string
	Rights         []string
	Insert, Update []string
}

// StreamNeeds are all that Grant gives for Write on wal2vec's tables.
func (s *Sink) StreamNeeds(st State) []Needed {
	var needs []Needed
	for _, table := range shared {
		n := Needed{Table: table, Rights: []string{"SELECT"}}
		switch {
		case slices.Contains(begun, table):
			n.Rights = append(n.Rights, "INSERT")
		case table == "backfill":
			n.Insert = opened
		}
		for _, m := range moved {
			if m.table == table {
				n.Update = m.columns
			}
		}
		needs = append(needs, n)
	}
	for _, table := range append([]string{"ledger_" + s.pipeline, "dead_letter_" + s.pipeline}, st.vectorTables()...) {
		needs = append(needs, Needed{Table: table, Rights: []string{"SELECT", "INSERT", "UPDATE", "DELETE"}})
	}
	return needs
}

// Grant grants, or takes back, in one transaction. Each role must exist; one that has nothing to be
// taken back is a fault of kind Usage, and so is a right that the role has afterwards, or lacks,
// against what was said.
func (s *Sink) Grant(ctx context.Context, grants ...Grant) error {
	if len(grants) == 0 {
		return nil
	}
	err := s.setUp(ctx, func(tx pgx.Tx) ([]string, error) {
		st, err := s.state(ctx, tx)
		if err != nil {
			return nil, err
		}
		for _, g := range grants {
			if err := s.grant(ctx, tx, st, g); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		return s.explainOwned(ctx, err, "giving and taking rights")
	}
	return nil
}

// grant looks after its statements at what they have done.
func (s *Sink) grant(ctx context.Context, tx pgx.Tx, st State, g Grant) error {
	others := Nothing
	if g.Access == Nothing {
		roles, err := s.grantees(ctx, tx, st)
		if err != nil {
			return err
		}
		for _, role := range roles {
			if role.name == g.Role {
				others = role.others
			}
		}
	}
	steps, err := s.grantSteps(ctx, tx, st, g)
	if err != nil {
		return err
	}
	if err := s.runSteps(ctx, tx, steps); err != nil {
		return err
	}
	return s.seen(ctx, tx, st, g, others)
}

// grantSteps needs of st the generations and the view's recorded name.
func (s *Sink) grantSteps(ctx context.Context, q querier, st State, g Grant) ([]string, error) {
	if g.Access == Nothing {
		return s.revokeSteps(ctx, q, st, g.Role)
	}
	if err := s.checkBypass(ctx, q, g.Role); err != nil {
		return nil, err
	}
	steps, err := s.tableSteps(s.pipeline, g, st.vectorTables())
	if err != nil {
		return nil, err
	}
	schema, name, err := s.viewName(st)
	if err != nil {
		return nil, err
	}
	role := pgname.Catalogue(g.Role)
	return append(steps,
		"GRANT USAGE ON SCHEMA "+pgname.Catalogue(schema)+" TO "+role,
		"GRANT SELECT ON TABLE "+pgname.Catalogue(schema, name)+" TO "+role,
	), nil
}

// tableSteps grants what a role needs of wal2vec's own tables for one pipeline, vectors being those
// of its generations.
func (s *Sink) tableSteps(pipeline string, g Grant, vectors []string) ([]string, error) {
	own := s.quoteTables(append([]string{"ledger_" + pipeline, "dead_letter_" + pipeline}, vectors...))
	rights := "SELECT"
	switch g.Access {
	case Read:
	case Write:
		rights = "SELECT, INSERT, UPDATE, DELETE"
	default:
		return nil, fault.New(fault.Usage, "grant write or read", "no access is called %q", g.Access)
	}
	return append(s.sharedSteps(g), "GRANT "+rights+" ON TABLE "+own+" TO "+pgname.Catalogue(g.Role)), nil
}

// sharedSteps grants what a role needs of the tables that pipelines share.
func (s *Sink) sharedSteps(g Grant) []string {
	role := pgname.Catalogue(g.Role)
	steps := []string{
		"GRANT USAGE ON SCHEMA " + pgname.Catalogue(s.schema) + " TO " + role,
		"GRANT SELECT ON TABLE " + s.quoteTables(shared) + " TO " + role,
	}
	if g.Access != Write {
		return steps
	}
	for _, m := range moved {
		steps = append(steps, "GRANT UPDATE ("+quoteColumns(m.columns)+") ON TABLE "+pgname.Catalogue(s.schema, m.table)+" TO "+role)
	}
	return append(steps,
		"GRANT INSERT ON TABLE "+s.quoteTables(begun)+" TO "+role,
		"GRANT INSERT ("+quoteColumns(opened)+") ON TABLE "+pgname.Catalogue(s.schema, "backfill")+" TO "+role,
	)
}

// quoteTables names tables of wal2vec's schema.
func (s *Sink) quoteTables(tables []string) string { return quoteTables(s.schema, tables) }

func quoteTables(schema string, tables []string) string {
	names := make([]string, len(tables))
	for i, table := range tables {
		names[i] = pgname.Catalogue(schema, table)
	}
	return strings.Join(names, ", ")
}

func quoteColumns(columns []string) string {
	quoted := make([]string, len(columns))
	for i, column := range columns {
		quoted[i] = pgname.Catalogue(column)
	}
	return strings.Join(quoted, ", ")
}

func (st State) vectorTables() []string {
	tables := make([]string, len(st.Generations))
	for i, g := range st.Generations {
		tables[i] = g.Table
	}
	return tables
}

// revokeSteps takes from a role what it was given for this pipeline, and from others what it passed
// on: it could keep itself from being revoked by that. What pipelines share stays open to a role
// that has another of them.
func (s *Sink) revokeSteps(ctx context.Context, q querier, st State, role string) ([]string, error) {
	roles, err := s.grantees(ctx, q, st)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(roles, func(g grantee) bool { return g.name == role })
	if at < 0 {
		return nil, fault.New(fault.Usage, "check the name of the role, and pipeline in the configuration",
			"role %q has no rights on pipeline %q that could be taken back", role, s.pipeline)
	}
	own := append([]string{"ledger_" + s.pipeline, "dead_letter_" + s.pipeline}, st.vectorTables()...)
	steps := []string{"REVOKE ALL ON TABLE " + s.quoteTables(own) + " FROM " + pgname.Catalogue(role) + " CASCADE"}
	if roles[at].view {
		steps = append(steps, "REVOKE ALL ON TABLE "+pgname.Catalogue(st.ViewSchema, st.ViewName)+" FROM "+pgname.Catalogue(role)+" CASCADE")
	}
	return append(steps, s.closeShared(st, roles[at])...), nil
}

// grantee is a role that was given rights on this pipeline's ledger.
type grantee struct {
	name   string
	writes bool
	// others is what it may do to other pipelines of the schema.
	others Access
	// view is true when it has rights on the pipeline's view, elsewhere when it has some on
	// anything else in the schema of the view.
	view, elsewhere bool
}

func (s *Sink) grantees(ctx context.Context, q querier, st State) ([]grantee, error) {
	rows, err := q.Query(ctx, s.query("grantees"), s.schema, "ledger_"+s.pipeline, st.ViewSchema, st.ViewName)
	if err != nil {
		return nil, s.explain(err, "reading who has rights")
	}
	roles, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (grantee, error) {
		var g grantee
		return g, row.Scan(&g.name, &g.writes, &g.others, &g.view, &g.elsewhere)
	})
	if err != nil {
		return nil, s.explain(err, "reading who has rights")
	}
	return roles, nil
}

// Roles returns what roles were given for this pipeline, by their names.
func (s *Sink) Roles(ctx context.Context) ([]Grant, error) {
	st, err := s.state(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	roles, err := s.grantees(ctx, s.pool, st)
	if err != nil {
		return nil, err
	}
	grants := make([]Grant, len(roles))
	for i, role := range roles {
		grants[i] = Grant{Role: role.name, Access: Read, Others: role.others}
		if role.writes {
			grants[i].Access = Write
		}
	}
	return grants, nil
}

// closeShared leaves a role of what the pipelines share what its other pipelines need, and of the
// view's schema what it has there otherwise.
func (s *Sink) closeShared(st State, g grantee) []string {
	role := pgname.Catalogue(g.name)
	steps := []string{
		"REVOKE ALL ON TABLE " + s.quoteTables(shared) + " FROM " + role + " CASCADE",
		"REVOKE ALL ON SCHEMA " + pgname.Catalogue(s.schema) + " FROM " + role + " CASCADE",
	}
	if g.others != Nothing {
		steps = append(steps, s.sharedSteps(Grant{Role: g.name, Access: g.others})...)
	}
	if st.ViewSchema != "" && !g.elsewhere {
		steps = append(steps, "REVOKE USAGE ON SCHEMA "+pgname.Catalogue(st.ViewSchema)+" FROM "+role+" CASCADE")
	}
	return steps
}

// copyRights gives the roles that have rights on the ledger the same ones on a new table of the
// pipeline.
func (s *Sink) copyRights(ctx context.Context, tx pgx.Tx, table string) error {
	return s.runFound(ctx, tx, "rights_copy", s.schema, "ledger_"+s.pipeline, table)
}

// viewRights returns the statements that let the roles that may read the ledger read the view,
// which may not exist yet.
func (s *Sink) viewRights(ctx context.Context, q querier, schema, name string) ([]string, error) {
	return s.found(ctx, q, "rights_view", s.schema, "ledger_"+s.pipeline, schema, name)
}

// found returns the statements that a query makes from the catalogue, which quotes their names.
func (s *Sink) found(ctx context.Context, q querier, query string, args ...any) ([]string, error) {
	rows, err := q.Query(ctx, s.query(query), args...)
	if err != nil {
		return nil, fmt.Errorf("reading who has rights: %w", err)
	}
	steps, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("reading who has rights: %w", err)
	}
	return steps, nil
}

func (s *Sink) runFound(ctx context.Context, tx pgx.Tx, query string, args ...any) error {
	steps, err := s.found(ctx, tx, query, args...)
	if err != nil {
		return err
	}
	return s.runSteps(ctx, tx, steps)
}

// firstByPipeline is the version of the schema since which rights are given by pipeline.
const firstByPipeline = 7

// Regrant is what the migration to rights by pipeline makes of a role's rights by schema.
type Regrant struct {
	Pipeline string
	// Role is empty for PUBLIC.
	Role string
	// Access is what it keeps of the pipeline.
	Access Access

	vectors []string // tables of the pipeline's generations
}

// Regranted returns what Migrate will make of rights that an older version gave; nothing where the
// schema is not so old.
func (s *Sink) Regranted(ctx context.Context) ([]Regrant, error) {
	_, version, err := s.migrateSteps(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	return s.regranted(ctx, s.pool, version)
}

func (s *Sink) regranted(ctx context.Context, q querier, version int) ([]Regrant, error) {
	if version == 0 || version >= firstByPipeline {
		return nil, nil
	}
	rows, err := q.Query(ctx, s.query("granted"), s.schema)
	if err != nil {
		return nil, fmt.Errorf("reading who has rights: %w", err)
	}
	regrants, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Regrant, error) {
		r := Regrant{Access: Read}
		var writes, keeps bool
		err := row.Scan(&r.Pipeline, &r.Role, &writes, &keeps, &r.vectors)
		switch {
		case !keeps:
			r.Access = Nothing
		case writes:
			r.Access = Write
		}
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading who has rights: %w", err)
	}
	return regrants, nil
}

// grantAgain returns the statements that give the roles of an older schema what they need by table:
// its migration takes back what they had by schema.
func (s *Sink) grantAgain(ctx context.Context, q querier, version int) ([]string, error) {
	regrants, err := s.regranted(ctx, q, version)
	if err != nil {
		return nil, err
	}
	var steps []string
	for _, r := range regrants {
		if r.Access == Nothing {
			grantee := "PUBLIC"
			if r.Role != "" {
				grantee = pgname.Catalogue(r.Role)
			}
			steps = append(steps, "REVOKE ALL ON TABLE "+s.quoteTables(append([]string{"ledger_" + r.Pipeline}, r.vectors...))+" FROM "+grantee+" CASCADE")
			continue
		}
		granted, err := s.tableSteps(r.Pipeline, Grant{Role: r.Role, Access: r.Access}, nil)
		if err != nil {
			return nil, err
		}
		steps = append(steps, granted...)
	}
	return steps, nil
}
