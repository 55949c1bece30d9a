package setup

import (
	"context"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

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

// Options say what init is to do beside what the configuration says.
type Options struct {
	// PrintSQL says that the statements are to be printed for another role to run.
	PrintSQL bool
	// Resync makes a new slot after a gap, and a new epoch.
	Resync bool
	// GrantStream, GrantRead and GrantSearch are roles that get the rights of a stream, of one that
	// reads the source table's rows, or of a search; Revoke those that lose them before.
	GrantStream, GrantRead, GrantSearch, Revoke []string
	// SwapRole is the role that gets the function that follows swapped tables: one, or none; not a
	// string, as that would not tell an empty name from none.
	SwapRole []string
	// Opener opens the checkpoint that the generation is made of. The zero value opens the model
	// that is configured; one with a shared encoder takes that encoder's checkpoint, and hashes
	// nothing.
	Opener engine.Opener
}

// Check refuses words that PostgreSQL reads as something else than a role's name, in quotes too:
// public would be every role.
func (o Options) Check() error {
	for _, role := range slices.Concat(o.GrantStream, o.GrantRead, o.GrantSearch, o.SwapRole) {
		if role == "" || role == "public" || role == "none" {
			return fault.New(fault.Usage, "name each role: --grant-stream=ROLE, --grant-read=ROLE, --grant-search=ROLE, --swap-role=ROLE",
				"%q is not the name of a role", role)
		}
	}
	if len(o.SwapRole) > 1 {
		return fault.New(fault.Usage, "give --swap-role once", "--swap-role names %d roles: one owns the function", len(o.SwapRole))
	}
	return nil
}

// Init is what init works with, once everything has been checked.
type Init struct {
	Restart
	options    Options
	generation sink.Generation
	// intended is true when an earlier run got as far as registering the pipeline: a slot of its
	// name is then that run's.
	intended bool
	// streamers are the roles that might write the pipeline when init began, left those of them
	// that have nothing in the sink any more: a revocation was cut off before it came to the
	// source.
	streamers, left []string
	// shared are the roles that stream another pipeline of the sink, too; noted where roles are to
	// lose something.
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
	// unfit is why the function that follows swapped tables is not made; nil where it is, or is not
	// asked for.
	unfit error
}

// Outcome is what init came to.
type Outcome struct {
	// Created is true where the pipeline got a slot.
	Created bool
	// View is the name of the view that was made, or was there.
	View string
	// Gap is why the pipeline's slot cannot bring what comes after the watermark; nil where it can.
	Gap error
	// Rights are lines that tell which role was given what, and which has lost it.
	Rights []string
}

// SQL returns the statements that would be run, and runs none.
func (s *Init) SQL(ctx context.Context) (string, error) {
	plan, err := s.plan(ctx)
	if err != nil {
		return "", err
	}
	s.sayUnfit()
	return plan.String(), nil
}

// Make makes everything that is not there, after a rehearsal. What it warns of, it logs.
func (s *Init) Make(ctx context.Context) (Outcome, error) {
	release, err := s.Store.Exclusive(ctx)
	if err != nil {
		return Outcome{}, err
	}
	defer release()
	plan, err := s.plan(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if err := s.rehearse(ctx, plan); err != nil {
		return Outcome{}, err
	}
	created, err := s.make(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if err := s.indexDue(ctx); err != nil {
		return Outcome{}, err
	}
	if err := s.warn(s.Store.CheckView(ctx), "the view that people read could run code of another role"); err != nil {
		return Outcome{}, err
	}
	if err := s.warn(s.Store.CheckLibrary(ctx), "the sink's pgvector can damage its indexes"); err != nil {
		return Outcome{}, err
	}
	if s.first && s.Server.MaxSlotWALKeepSize == nil {
		s.Log.Warn().Msg("max_slot_wal_keep_size is -1 on the source: a stopped stream can fill its disk; " +
			"ALTER SYSTEM SET max_slot_wal_keep_size = '20GB' bounds that")
	}
	return Outcome{Created: created, View: s.view, Gap: s.gap, Rights: s.rights}, nil
}

// warn logs an error of kind Usage, and returns any other.
func (s *Init) warn(err error, what string) error {
	if fault.KindOf(err) != fault.Usage {
		return err
	}
	s.Log.Warn().Str("reason", config.Printable(err)).Str("try", fault.Try(err)).Msg(what)
	return nil
}

// indexDue builds indexes of tables that were filled by a role that may not build them.
func (s *Init) indexDue(ctx context.Context) error {
	state, err := s.Store.State(ctx)
	if err != nil {
		return err
	}
	s.view = connect.ViewOf(s.Config, state)
	return backfill.NewIndexer(s.Store, s.Log, nil).BuildDue(ctx, state)
}

// Prepare connects, inspects and refuses; it changes nothing.
func Prepare(ctx context.Context, c config.Config, log zerolog.Logger, o Options) (s *Init, err error) {
	s = &Init{Restart: Restart{Config: c, Log: log}, options: o}
	if s.Source, err = connect.Source(ctx, c, "init"); err != nil {
		return nil, err
	}
	source := s.Source // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			_ = source.Close(context.WithoutCancel(ctx))
		}
	}()
	if s.Server, err = replication.Server(ctx, s.Source); err != nil {
		return nil, err
	}
	if err := s.Server.Check(); err != nil {
		return nil, err
	}
	if !o.PrintSQL { // which is for another to run
		if err := replication.CheckPublisher(ctx, s.Source, c.Source.Publication, c.Source.Table.Schema, c.Source.Table.Name); err != nil {
			return nil, err
		}
	}
	inspected := connect.InspectOptions(c)
	inspected.Reader, inspected.Unread = "", inspected.Reader != "" // which may get its rights by this init
	if s.Table, err = replication.Inspect(ctx, s.Source, inspected); err != nil {
		return nil, err
	}
	if err := s.checkReaders(ctx); err != nil {
		return nil, err
	}
	// The checkpoint's weights are hashed: what is quickly found to be wrong comes first.
	checkpoint, err := o.Opener.Checkpoint(c)
	if err != nil {
		return nil, err
	}
	s.generation = engine.GenerationOf(c, checkpoint)
	if s.Store, err = connect.OpenStore(ctx, c, s.Log, "init"); err != nil {
		return nil, err
	}
	if err := s.checkEncodings(ctx); err != nil {
		s.Store.Close()
		return nil, err
	}
	return s, nil
}

// checkReaders refuses a role that would read tables of two owners, who could then read one
// another's by it.
func (s *Init) checkReaders(ctx context.Context) error {
	if s.Config.Source.TrustOwner {
		return nil
	}
	table := s.Config.Source.Table
	for _, role := range s.options.GrantRead {
		other, owner, err := replication.ReadsBeside(ctx, s.Source, role, table.Schema, table.Name)
		if err != nil {
			return err
		}
		if other != "" {
			return fault.New(fault.Usage, "take that right from it, or give the tables of each owner a role that reads (deploy/roles.sql, wal2vec.read)",
				"role %s may read %s of role %s: by it the owner of %s could read that, or that one this table", pgname.Identifier(role), other, owner, table)
		}
	}
	return nil
}

// Close closes what Prepare opened.
func (s *Init) Close(ctx context.Context) {
	s.Store.Close()
	_ = s.Source.Close(context.WithoutCancel(ctx))
}

// checkEncodings refuses a key that may be a text in the source and none in the sink.
func (s *Init) checkEncodings(ctx context.Context) error {
	if !slices.ContainsFunc(s.Table.Key, func(c change.Column) bool { return c.Type.Text() }) {
		return nil
	}
	conn, err := s.Store.Pool.Acquire(ctx)
	if err != nil {
		return connect.Unconnected(err, connect.SinkName(s.Config))
	}
	defer conn.Release()
	return pgsession.CheckKeys(pgsession.EncodingOf(s.Source), pgsession.EncodingOf(conn.Conn()))
}

func (s *Init) pipeline() sink.Pipeline { return PipelineOf(s.Config, s.Server, s.Table) }

func (s *Init) grants() []sink.Grant {
	var grants []sink.Grant
	for _, role := range s.options.Revoke {
		if slices.Contains(s.left, role) {
			continue
		}
		grants = append(grants, sink.Grant{Role: role, Access: sink.Nothing})
	}
	for _, role := range s.options.GrantStream {
		grants = append(grants, sink.Grant{Role: role, Access: sink.Write})
	}
	for _, role := range s.options.GrantSearch {
		grants = append(grants, sink.Grant{Role: role, Access: sink.Read})
	}
	return grants
}

// plan returns the statements that are to run, and with them every reason not to begin that can be
// seen without trying.
func (s *Init) plan(ctx context.Context) (plan setupPlan, err error) {
	known, _, err := s.Store.Registered(ctx)
	if err != nil {
		return plan, err
	}
	s.use = UseOf(s.Config, known)
	if plan.publication, err = replication.PublicationSQL(ctx, s.Source, s.Config.Source.Publication, s.Table, s.use); err != nil {
		return plan, err
	}
	if plan.pins, plan.function, err = s.planSource(ctx); err != nil {
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
	if plan.sink, err = s.Store.Plan(ctx, s.pipeline(), s.generation, s.grants()...); err != nil {
		return plan, err
	}
	state, err := replication.ReadSlot(ctx, s.Source, s.Config.Source.Slot)
	if err != nil {
		return plan, err
	}
	started, err := s.started(ctx)
	if err != nil {
		return plan, err
	}
	if started && !s.options.Resync {
		s.gap, err = s.slotGap(ctx, state)
		return plan, err
	}
	if err := s.checkSlot(ctx, state, started); err != nil {
		return plan, err
	}
	plan.slot = "SELECT pg_catalog.pg_create_logical_replication_slot(" + pgname.Literal(s.Config.Source.Slot) + ", 'pgoutput')"
	return plan, nil
}

// slotGap says why the slot of a pipeline that is set up is of no use, where that can be told.
func (s *Init) slotGap(ctx context.Context, slot replication.SlotState) (gap, err error) {
	state, _, err := s.Store.Registered(ctx)
	if err != nil {
		return nil, err
	}
	if gap = replication.CheckSlot(slot, state.Watermark); fault.KindOf(gap) != fault.Gap {
		return nil, nil
	}
	return gap, nil
}

// rehearse tries everything and takes it back, so that a missing right leaves nothing half done. A
// slot cannot be taken back: there the right to make one is all that is tried.
func (s *Init) rehearse(ctx context.Context, plan setupPlan) error {
	if err := s.Store.Rehearse(ctx, plan.sink); err != nil {
		return err
	}
	tx, err := s.Source.Begin(ctx)
	if err != nil {
		return fmt.Errorf("rehearsing on the source: %w", err)
	}
	err = replication.EnsurePublication(ctx, tx, s.Config.Source.Publication, s.Table, s.use)
	if rollbackErr := tx.Rollback(ctx); err == nil {
		err = rollbackErr
	}
	if err != nil || plan.slot == "" {
		return err
	}
	return replication.CheckAccess(ctx, s.Config.Source.DSN.Reveal())
}

// started reports whether the pipeline has a slot and a watermark, and notes whether an earlier
// init was cut off before that.
func (s *Init) started(ctx context.Context) (bool, error) {
	// An older schema is one that the plan brings up to date.
	state, found, err := s.Store.Registered(ctx)
	if err != nil || !found {
		return false, err
	}
	s.intended = true
	if state.Started() && state.Slot == "" && !s.options.Resync {
		return true, sink.ErrNoSlot
	}
	return state.Started(), nil
}

// checkSlot refuses a slot in the way: one that is being read, or one that is not wal2vec's.
func (s *Init) checkSlot(ctx context.Context, slot replication.SlotState, started bool) error {
	switch {
	case !slot.Exists:
		return s.Server.CheckFreeSlot()
	case slot.Database != slot.CurrentDatabase || slot.Plugin != "pgoutput":
		return fault.New(fault.Usage, "set another name: source.slot",
			"the server has a slot %q already, of database %q and plugin %q: it does not belong to this pipeline", slot.Name, slot.Database, slot.Plugin)
	case slot.Active:
		return fault.New(fault.Busy, "stop the process that reads it, or set another name: source.slot",
			"slot %q is in use by process %d%s", slot.Name, slot.ActivePID, replication.Whose(ctx, s.Source, slot.ActivePID))
	case !started && !s.intended:
		drop := "SELECT pg_catalog.pg_drop_replication_slot(" + pgname.Literal(slot.Name) + ");"
		try := "set another name: source.slot; or, if no other pipeline or program reads it: " + drop
		return fault.New(fault.Usage, try, "slot %q exists in this database and does not belong to this pipeline", slot.Name)
	default:
		return nil
	}
}

// make makes everything, in an order in which a run that was cut off can simply be run again. A
// slot of this name is an earlier run's, or the old one of a resync.
func (s *Init) make(ctx context.Context) (created bool, err error) {
	if err := s.noteUpgrade(ctx); err != nil {
		return false, err
	}
	if err := s.Store.Migrate(ctx); err != nil {
		return false, err
	}
	if err := s.Store.Register(ctx, s.pipeline()); err != nil {
		return false, err
	}
	if _, err := s.Store.EnsureGeneration(ctx, s.generation); err != nil {
		return false, err
	}
	if err := replication.EnsurePublication(ctx, s.Source, s.Config.Source.Publication, s.Table, s.use); err != nil {
		return false, err
	}
	// The source comes first, and each side is one transaction: where the second fails, the sink
	// still knows who is to lose what.
	if err := s.takeBack(ctx); err != nil {
		return false, err
	}
	if err := s.Store.Grant(ctx, s.grants()...); err != nil {
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
	state, err := s.Store.State(ctx)
	if err != nil {
		return false, err
	}
	if state.Started() && !s.options.Resync {
		return false, nil
	}
	s.first = !state.Started()
	return true, s.Run(ctx, state)
}

// warnOfBypass tells of a role that would act for every pipeline as soon as there is another one.
// Where there is one, the grant has been refused.
func (s *Init) warnOfBypass(ctx context.Context, grant sink.Grant) error {
	if grant.Access == sink.Nothing {
		return nil
	}
	bypass, err := s.Store.Bypass(ctx, grant.Role)
	if err == nil && bypass.Role != "" {
		s.Log.Warn().Str("role", grant.Role).Str("try", bypass.Fix(grant.Role)).
			Msg("the role has BYPASSRLS, by itself or as a member of another one: it would have these rights on every further pipeline of the schema, too")
	}
	return err
}
