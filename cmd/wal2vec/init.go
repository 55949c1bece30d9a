package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

type initOptions struct {
	printSQL    bool
	resync      bool
	grantStream []string
	grantSearch []string
	revoke      []string
	swapRole    []string // one, or none; not a string, as that would not tell an empty name from none
}

func newInit(p *program) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use: "init", Short: "Set up tables, publication and slot; may be run again", GroupID: "work", Args: cobra.NoArgs,
		Long: "Set up wal2vec's schema and the view in the sink, the publication and the replication slot on the source. What is there\n" +
			"already is left as it is, an older schema is migrated. Every check comes before the first change.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			err = p.init(cmd.Context(), c, o)
			if o.printSQL { // which is for another role to run
				return err
			}
			return p.forInit(cmd.Context(), c, err)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.printSQL, "print-sql", false, "print the statements instead of running them")
	flags.BoolVar(&o.resync, "resync", false, "after a gap: new slot, new epoch; the next backfill refreshes every row, deletions included")
	flags.StringArrayVar(&o.grantStream, "grant-stream", nil, "let a role run stream and backfill (may be repeated)")
	flags.StringArrayVar(&o.grantSearch, "grant-search", nil, "let a role run search and status (may be repeated)")
	flags.StringArrayVar(&o.revoke, "revoke", nil, "take back what a role was given by the two above, before they give (may be repeated)")
	flags.StringArrayVar(&o.swapRole, "swap-role", nil, "the role that gets the function that follows swapped tables, and the publication")
	cmd.MarkFlagsMutuallyExclusive("print-sql", "resync")
	return cmd
}

// check refuses words that PostgreSQL reads as something else than a role's name, in quotes too: public would be every role.
func (o initOptions) check() error {
	for _, role := range slices.Concat(o.grantStream, o.grantSearch, o.swapRole) {
		if role == "" || role == "public" || role == "none" {
			return fault.New(fault.Usage, "name each role: --grant-stream=ROLE, --grant-search=ROLE, --swap-role=ROLE", "%q is not the name of a role", role)
		}
	}
	if len(o.swapRole) > 1 {
		return fault.New(fault.Usage, "give --swap-role once", "--swap-role names %d roles: one owns the function", len(o.swapRole))
	}
	return nil
}

// setup is what init works with, once everything has been checked.
type setup struct {
	restart
	options    initOptions
	generation sink.Generation
	// intended is true when an earlier run got as far as registering the pipeline: a slot of its name is then that run's.
	intended bool
	// streamers are the roles that might write the pipeline when init began, left those of them that have nothing in the sink any more: a revocation
	// was cut off before it came to the source.
	streamers, left []string
	// shared are the roles that stream another pipeline of the sink, too; noted where roles are to lose something.
	shared []string
	// rights are the lines that tell which role was given what, and which has lost it.
	rights []string
	// use is how the pipeline reads its publication.
	use replication.Use
	// first is true when this run gave the pipeline its first slot.
	first bool
	// view is the name of the view that was made, or was there.
	view string
	// gap is why the pipeline's slot cannot bring what comes after the watermark; nil where it can.
	gap error
	// unfit is why the function that follows swapped tables is not made; nil where it is, or is not asked for.
	unfit error
}

func (p *program) init(ctx context.Context, c config.Config, o initOptions) error {
	s, closeAll, err := p.prepareInit(ctx, c, o)
	if err != nil {
		return err
	}
	defer closeAll()
	if o.printSQL {
		plan, err := s.plan(ctx)
		if err != nil {
			return err
		}
		s.sayUnfit()
		return plan.print(p.stdout)
	}
	release, err := s.store.Exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	plan, err := s.plan(ctx)
	if err != nil {
		return err
	}
	if err := s.rehearse(ctx, plan); err != nil {
		return err
	}
	created, err := s.make(ctx)
	if err != nil {
		return err
	}
	if err := s.indexDue(ctx); err != nil {
		return err
	}
	if err := s.store.CheckView(ctx); fault.KindOf(err) == fault.Usage {
		s.log.Warn().Str("reason", printable(err)).Str("try", fault.Try(err)).Msg("the view that people read could run code of another role")
	} else if err != nil {
		return err
	}
	if err := s.store.CheckLibrary(ctx); fault.KindOf(err) == fault.Usage {
		s.log.Warn().Str("reason", printable(err)).Str("try", fault.Try(err)).Msg("the sink's pgvector can damage its indexes")
	} else if err != nil {
		return err
	}
	return p.sayReady(s, created)
}

// indexDue builds indexes of tables that were filled by a role that may not build them.
func (s *setup) indexDue(ctx context.Context) error {
	state, err := s.store.State(ctx)
	if err != nil {
		return err
	}
	s.view = connect.ViewOf(s.config, state)
	return backfill.NewIndexer(s.store, s.log, nil).BuildDue(ctx, state)
}

// prepareInit connects, looks and refuses; it changes nothing.
func (p *program) prepareInit(ctx context.Context, c config.Config, o initOptions) (s *setup, closeAll func(), err error) {
	s = &setup{restart: restart{config: c, log: p.logger(c.Log)}, options: o}
	if s.source, err = connect.Source(ctx, c, "init"); err != nil {
		return nil, nil, err
	}
	source := s.source // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			_ = source.Close(context.WithoutCancel(ctx))
		}
	}()
	if s.server, err = replication.Server(ctx, s.source); err != nil {
		return nil, nil, err
	}
	if err := s.server.Check(); err != nil {
		return nil, nil, err
	}
	if !o.printSQL { // which is for another to run
		if err := replication.CheckPublisher(ctx, s.source, c.Source.Publication, c.Source.Table.Schema, c.Source.Table.Name); err != nil {
			return nil, nil, err
		}
	}
	if s.table, err = replication.Inspect(ctx, s.source, connect.InspectOptions(c)); err != nil {
		return nil, nil, err
	}
	// The checkpoint's weights are hashed: what is quickly found to be wrong comes first.
	parts, err := connect.FindParts()
	if err != nil {
		return nil, nil, err
	}
	checkpoint, err := engine.OpenCheckpoint(parts, c)
	if err != nil {
		return nil, nil, err
	}
	s.generation = engine.GenerationOf(c, checkpoint)
	if s.store, err = connect.OpenStore(ctx, c, s.log, "init"); err != nil {
		return nil, nil, err
	}
	if err := s.checkEncodings(ctx); err != nil {
		s.store.Close()
		return nil, nil, err
	}
	return s, func() {
		s.store.Close()
		_ = s.source.Close(context.WithoutCancel(ctx))
	}, nil
}

// checkEncodings refuses a key that may be a text in the source and none in the sink.
func (s *setup) checkEncodings(ctx context.Context) error {
	if !slices.ContainsFunc(s.table.Key, func(c change.Column) bool { return c.Type.Text() }) {
		return nil
	}
	conn, err := s.store.Pool.Acquire(ctx)
	if err != nil {
		return connect.Unconnected(err, connect.SinkName(s.config))
	}
	defer conn.Release()
	return pgsession.CheckKeys(pgsession.EncodingOf(s.source), pgsession.EncodingOf(conn.Conn()))
}

func (s *setup) pipeline() sink.Pipeline { return pipelineOf(s.config, s.server, s.table) }

func pipelineOf(c config.Config, server replication.ServerInfo, table change.Table) sink.Pipeline {
	return sink.Pipeline{
		SystemID: server.SystemID, Timeline: server.Timeline, Slot: c.Source.Slot, Publication: c.Source.Publication, Table: table,
	}
}

func (s *setup) grants() []sink.Grant {
	var grants []sink.Grant
	for _, role := range s.options.revoke {
		if slices.Contains(s.left, role) {
			continue
		}
		grants = append(grants, sink.Grant{Role: role, Access: sink.Nothing})
	}
	for _, role := range s.options.grantStream {
		grants = append(grants, sink.Grant{Role: role, Access: sink.Write})
	}
	for _, role := range s.options.grantSearch {
		grants = append(grants, sink.Grant{Role: role, Access: sink.Read})
	}
	return grants
}

// setupPlan is what init is to run in each database.
type setupPlan struct {
	sink, publication []string
	// function makes the function that follows swapped tables for roles that do not own them, and gives and takes what roles may read; empty
	// where nothing is asked for.
	function []string
	pin      string // the statement before those for the source that keeps the names in them
	slot     string // the statement that creates it; empty when the pipeline has one
	// kept are lines that tell what roles keep in the source, though they are revoked.
	kept []string
}

// ownPath is how printed SQL begins. Who runs it may have a schema of another role on the search path: one that is called like the role that runs
// it ("$user"), or public. It holds for the session: a slot cannot be made in a transaction that has written, which SET LOCAL would take.
const ownPath = "SELECT pg_catalog.set_config('search_path', 'pg_catalog', false)"

func (p setupPlan) print(w io.Writer) error {
	var text strings.Builder
	section := func(head string, statements []string) {
		text.WriteString(head)
		if len(statements) > 0 {
			statements = slices.Concat([]string{ownPath}, statements)
		}
		for _, statement := range statements {
			text.WriteString(strings.TrimSuffix(pgname.Pasteable(statement), ";"))
			text.WriteString(";\n")
		}
	}
	source := slices.Concat(p.publication, p.function)
	if len(source) > 0 {
		source = inTransaction(slices.Concat([]string{p.pin}, source))
	}
	if p.slot != "" {
		source = append(source, p.slot)
	}
	section("-- In the sink:\n", inTransaction(p.sink))
	section("-- In the source:\n", source)
	for _, line := range p.kept {
		text.WriteString("-- Left in the source: " + pgname.Visible(line) + "\n")
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("printing the statements: %w", err)
	}
	return nil
}

// inTransaction lets the first error end all of them: psql goes on after one, and the next statement would run into what another role has put in
// the place of what was to be made. PUBLIC, too, must not get to call the function between its creation and the REVOKE.
func inTransaction(statements []string) []string {
	if len(statements) == 0 {
		return nil
	}
	return slices.Concat([]string{"BEGIN"}, statements, []string{"COMMIT"})
}

// plan returns the statements that are to run, and with them every reason not to begin that can be seen without trying.
func (s *setup) plan(ctx context.Context) (plan setupPlan, err error) {
	known, _, err := s.store.Registered(ctx)
	if err != nil {
		return plan, err
	}
	s.use = useOf(s.config, known)
	if plan.publication, err = replication.PublicationSQL(ctx, s.source, s.config.Source.Publication, s.table, s.use); err != nil {
		return plan, err
	}
	if plan.pin, plan.function, err = s.planSource(ctx); err != nil {
		return plan, err
	}
	if err := s.findStreamers(ctx); err != nil {
		return plan, err
	}
	revoke, kept, err := s.planRevocation(ctx)
	if err != nil {
		return plan, err
	}
	plan.function, plan.kept = append(plan.function, revoke...), kept
	if plan.sink, err = s.store.Plan(ctx, s.pipeline(), s.generation, s.grants()...); err != nil {
		return plan, err
	}
	state, err := replication.ReadSlot(ctx, s.source, s.config.Source.Slot)
	if err != nil {
		return plan, err
	}
	started, err := s.started(ctx)
	if err != nil {
		return plan, err
	}
	if started && !s.options.resync {
		s.gap, err = s.slotGap(ctx, state)
		return plan, err
	}
	if err := s.checkSlot(ctx, state, started); err != nil {
		return plan, err
	}
	plan.slot = "SELECT pg_catalog.pg_create_logical_replication_slot(" + pgname.Literal(s.config.Source.Slot) + ", 'pgoutput')"
	return plan, nil
}

// slotGap says why the slot of a pipeline that is set up is of no use, where that can be told.
func (s *setup) slotGap(ctx context.Context, slot replication.SlotState) (gap, err error) {
	state, _, err := s.store.Registered(ctx)
	if err != nil {
		return nil, err
	}
	if gap = replication.CheckSlot(slot, state.Watermark); fault.KindOf(gap) != fault.Gap {
		return nil, nil
	}
	return gap, nil
}

// rehearse tries everything and takes it back, so that a missing right leaves nothing half done. A slot cannot be taken back: there
// the right to make one is all that is tried.
func (s *setup) rehearse(ctx context.Context, plan setupPlan) error {
	if err := s.store.Rehearse(ctx, plan.sink); err != nil {
		return err
	}
	tx, err := s.source.Begin(ctx)
	if err != nil {
		return fmt.Errorf("rehearsing on the source: %w", err)
	}
	err = replication.EnsurePublication(ctx, tx, s.config.Source.Publication, s.table, s.use)
	if rollbackErr := tx.Rollback(ctx); err == nil {
		err = rollbackErr
	}
	if err != nil || plan.slot == "" {
		return err
	}
	return replication.CheckAccess(ctx, s.config.Source.DSN.Reveal())
}

// started reports whether the pipeline has a slot and a watermark, and notes whether an earlier init was cut off before that.
func (s *setup) started(ctx context.Context) (bool, error) {
	// An older schema is one that the plan brings up to date.
	state, found, err := s.store.Registered(ctx)
	if err != nil || !found {
		return false, err
	}
	s.intended = true
	if state.Started() && state.Slot == "" && !s.options.resync {
		return true, sink.ErrNoSlot
	}
	return state.Started(), nil
}

// checkSlot refuses a slot in the way: one that is being read, or one that is not wal2vec's.
func (s *setup) checkSlot(ctx context.Context, slot replication.SlotState, started bool) error {
	switch {
	case !slot.Exists:
		return s.server.CheckFreeSlot()
	case slot.Database != slot.CurrentDatabase || slot.Plugin != "pgoutput":
		return fault.New(fault.Usage, "set another name: source.slot",
			"the server has a slot %q already, of database %q and plugin %q: it does not belong to this pipeline", slot.Name, slot.Database, slot.Plugin)
	case slot.Active:
		return fault.New(fault.Busy, "stop the process that reads it, or set another name: source.slot",
			"slot %q is in use by process %d%s", slot.Name, slot.ActivePID, replication.Whose(ctx, s.source, slot.ActivePID))
	case !started && !s.intended:
		drop := "SELECT pg_catalog.pg_drop_replication_slot(" + pgname.Literal(slot.Name) + ");"
		try := "set another name: source.slot; or, if no other pipeline or program reads it: " + drop
		return fault.New(fault.Usage, try, "slot %q exists in this database and does not belong to this pipeline", slot.Name)
	default:
		return nil
	}
}

// make makes everything, in an order in which a run that was cut off can simply be run again. A slot of this name is an earlier run's, or
// the old one of a resync.
func (s *setup) make(ctx context.Context) (created bool, err error) {
	if err := s.noteUpgrade(ctx); err != nil {
		return false, err
	}
	if err := s.store.Migrate(ctx); err != nil {
		return false, err
	}
	if err := s.store.Register(ctx, s.pipeline()); err != nil {
		return false, err
	}
	if _, err := s.store.EnsureGeneration(ctx, s.generation); err != nil {
		return false, err
	}
	if err := replication.EnsurePublication(ctx, s.source, s.config.Source.Publication, s.table, s.use); err != nil {
		return false, err
	}
	// The source comes first, and each side is one transaction: where the second fails, the sink still knows who is to lose what.
	if err := s.takeBack(ctx); err != nil {
		return false, err
	}
	if err := s.store.Grant(ctx, s.grants()...); err != nil {
		return false, err
	}
	for _, grant := range s.grants() {
		s.noteGrant(grant)
		if err := s.warnOfBypass(ctx, grant); err != nil {
			return false, err
		}
	}
	if err := s.makeFunction(ctx); err != nil {
		return false, err
	}
	state, err := s.store.State(ctx)
	if err != nil {
		return false, err
	}
	if state.Started() && !s.options.resync {
		return false, nil
	}
	s.first = !state.Started()
	return true, s.run(ctx, state)
}

// warnOfBypass tells of a role that would act for every pipeline as soon as there is another one. Where there is one, the grant has been refused.
func (s *setup) warnOfBypass(ctx context.Context, grant sink.Grant) error {
	if grant.Access == sink.Nothing {
		return nil
	}
	bypass, err := s.store.Bypass(ctx, grant.Role)
	if err == nil && bypass.Role != "" {
		s.log.Warn().Str("role", grant.Role).Str("try", bypass.Fix(grant.Role)).
			Msg("the role has BYPASSRLS, by itself or as a member of another one: it would have these rights on every further pipeline of the schema, too")
	}
	return err
}

func (p *program) sayReady(s *setup, created bool) error {
	c := s.config
	word := "was set up already"
	if created {
		word = "is set up"
	}
	if s.first && s.server.MaxSlotWALKeepSize == nil {
		s.log.Warn().Msg("max_slot_wal_keep_size is -1 on the source: a stopped stream can fill its disk; " +
			"ALTER SYSTEM SET max_slot_wal_keep_size = '20GB' bounds that")
	}
	next := "wal2vec backfill, and beside it wal2vec stream"
	if s.gap != nil {
		s.log.Warn().Str("reason", printable(s.gap)).Str("try", "wal2vec init --resync").Msg("the pipeline has no slot that it can go on with")
		next = "wal2vec init --resync, since a stream could not go on: " + printable(s.gap)
	}
	var text strings.Builder
	for _, line := range s.rights {
		fmt.Fprintf(&text, "%s\n", line)
	}
	_, err := fmt.Fprintf(p.stdout, "%spipeline %s %s: %s -> %s (slot %s, publication %s)\nnext: %s\n", text.String(),
		c.Pipeline, word, pgname.Visible(c.Source.Table.String()), pgname.Visible(s.view), c.Source.Slot,
		pgname.Visible(c.Source.Publication), next)
	return err
}
