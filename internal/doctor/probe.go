package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/search"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
	"github.com/wal2vec/wal2vec/sql"
)

// ProbeOptions say what a probe sends, and how long it waits.
type ProbeOptions struct {
	// Key is that of the row; empty for any that has a vector.
	Key string
	// Wait bounds the wait for each stage.
	Wait time.Duration
	// Opener opens the encoder of the search.
	Opener engine.Opener
	// Say is told in one line what is about to be done.
	Say func(string)
}

// prober sends something through a running pipeline and follows it to its end.
type prober struct {
	config  config.Config
	options ProbeOptions
	report  *Report

	source   *pgx.Conn
	searcher *search.Searcher
	state    sink.State
	reader   *rows.Reader // of the text of the active generation
}

// Probe sends something through a running pipeline, and adds what came of it to the report: first a
// message in the source's log, which touches nothing, then a row that is written as it is.
func Probe(ctx context.Context, c config.Config, o ProbeOptions, report *Report) {
	pr := &prober{config: c, options: o, report: report}
	defer pr.close(ctx)
	if err := pr.open(ctx); err != nil {
		pr.failed("probe.stream", err)
		return
	}
	report.Add("probe.stream", OK, "a stream runs: "+pr.state.Owner, "", "")
	if err := pr.message(ctx); err != nil {
		pr.failed("probe.log", err)
		return
	}
	pr.row(ctx)
}

func (pr *prober) open(ctx context.Context) error {
	var err error
	if pr.source, err = connect.Source(ctx, pr.config, "doctor"); err != nil {
		return err
	}
	if _, err := pr.source.Exec(ctx, sql.Query("source_restrict")); err != nil { // no view in the table's place is updated
		return fmt.Errorf("preparing a session of the source: %w", err)
	}
	if pr.searcher, err = search.Open(ctx, pr.config, pr.options.Opener); err != nil {
		return err
	}
	if pr.state, err = pr.searcher.Store.State(ctx); err != nil {
		return err
	}
	if _, err := connect.ShownTable(pr.config, pr.state); err != nil {
		return err
	}
	table, err := connect.Inspect(ctx, pr.config)
	if err != nil {
		return err
	}
	pr.reader = connect.NewReader(pr.config, table)
	slot, err := replication.ReadSlot(ctx, pr.source, pr.state.Slot)
	if err == nil && !slot.Active {
		err = fault.New(fault.Usage, "wal2vec stream", "no stream runs that could answer a probe")
	}
	return err
}

func (pr *prober) close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if pr.reader != nil {
		pr.reader.Close(ctx)
	}
	if pr.searcher != nil {
		pr.searcher.Close()
	}
	if pr.source != nil {
		_ = pr.source.Close(ctx) // nothing depends on a polite end
	}
}

// say tells what is about to be done.
func (pr *prober) say(what string, args ...any) { pr.options.Say(fmt.Sprintf(what, args...)) }

func (pr *prober) failed(check string, err error) {
	status := Fail
	if kind := fault.KindOf(err); kind == fault.Internal {
		status = Skip
	}
	pr.report.AddError(check, status, err)
}

// within bounds a wait, and says what did not happen in time.
func (pr *prober) within(ctx context.Context, what string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, pr.options.Wait,
		fault.New(fault.Unavailable, "wal2vec status, and the log of the stream", "%s within %s", what, pr.options.Wait))
}

// cause is the reason why a wait ended, rather than that it did.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// end is the end of the source's log.
func (pr *prober) end(ctx context.Context) (change.LSN, error) {
	var lsn change.LSN
	if err := pr.source.QueryRow(ctx, sql.Query("source_insert_lsn")).Scan(&lsn); err != nil {
		return 0, fmt.Errorf("reading the end of the source's log: %w", err)
	}
	return lsn.RecordEnd(), nil
}

// message writes what a heartbeat writes, and waits until the watermark is behind it.
func (pr *prober) message(ctx context.Context) error {
	ctx, cancel := pr.within(ctx, "the watermark did not pass a message in the source's log")
	defer cancel()
	pr.say("writes a message into the source's log, which changes nothing")
	begun := time.Now()
	if _, err := pr.source.Exec(ctx, sql.Query("source_heartbeat")); err != nil {
		return cause(ctx, fmt.Errorf("writing a message into the source's log: %w", err))
	}
	end, err := pr.end(ctx)
	if err == nil {
		err = pr.searcher.Store.WaitFor(ctx, end)
	}
	if err != nil {
		return cause(ctx, err)
	}
	pr.report.Add("probe.log", OK, fmt.Sprintf("the watermark passed %s after %s", end, since(begun)), "", "")
	return nil
}

// row writes a row as it is, waits until the ledger has it, and searches for its text.
func (pr *prober) row(ctx context.Context) {
	waiting, cancel := pr.within(ctx, "the row did not arrive in the ledger")
	defer cancel()
	key, err := pr.choose(waiting)
	if errors.Is(err, errNoRow) {
		pr.report.Add("probe.row", OK, "the table is empty: there is no row to send", "", "")
		return
	}
	if err != nil {
		pr.failed("probe.row", cause(waiting, err))
		return
	}
	owner, err := pr.another(waiting)
	if err != nil {
		pr.failed("probe.write", cause(waiting, err))
		return
	}
	if owner != "" {
		pr.withoutRow(ctx, owner, key)
		return
	}
	before, err := pr.end(waiting)
	if err != nil {
		pr.failed("probe.row", cause(waiting, err))
		return
	}
	begun := time.Now()
	if check, err := pr.update(waiting, key); err != nil {
		pr.failed(check, cause(waiting, err))
		return
	}
	pr.report.Add("probe.write", OK, fmt.Sprintf("the row %s was written as it is in %s", key, since(begun)), "", "")
	if err := pr.arrived(waiting, key, before); err != nil {
		pr.failed("probe.row", cause(waiting, err))
		return
	}
	pr.report.Add("probe.row", OK, "the ledger had it "+since(begun)+" after the write began", "", "")
	pr.search(ctx, key)
}

// choose takes the given key, or that of any row with a vector.
func (pr *prober) choose(ctx context.Context) (change.Key, error) {
	if pr.options.Key != "" {
		return connect.ParseKey(pr.options.Key, len(pr.state.Table.Key))
	}
	g, own := pr.state.Generation, pr.config.Sink.Schema
	data := struct {
		Keys, Names           []string
		Vectors, Ledger, Hash string
	}{
		Vectors: pgname.Catalogue(own, g.Table), Ledger: pgname.Catalogue(own, "ledger_"+pr.config.Pipeline),
		Hash: pgname.Catalogue(g.HashColumn),
	}
	for _, column := range pr.state.Table.Key {
		name := pgname.Catalogue(column.Name)
		data.Names, data.Keys = append(data.Names, name), append(data.Keys, name+"::text")
	}
	query, err := sql.Render("doctor_probe_key", data)
	if err != nil {
		return "", err
	}
	var parts []string
	err = pr.searcher.Store.Pool.QueryRow(ctx, query).Scan(&parts)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", pr.without(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("looking for a row: %w", err)
	}
	return change.KeyOf(parts...), nil
}

// errNoRow says that the table is empty.
var errNoRow = errors.New("the table is empty")

// without says why no row has a vector.
func (pr *prober) without(ctx context.Context) error {
	chunk, err := pr.reader.Chunk(ctx, "", 1)
	switch {
	case err != nil:
		return err
	case len(chunk.Rows) == 0:
		return errNoRow
	default:
		return fault.New(fault.Usage, "wal2vec backfill", "no row has a vector yet")
	}
}

// conditions compare the key columns with parameters from a number on.
func (pr *prober) conditions(first int) []string {
	conditions := make([]string, len(pr.state.Table.Key))
	for i, column := range pr.state.Table.Key {
		conditions[i] = fmt.Sprintf("%s = $%d::text::%s", pgname.Catalogue(column.Name), first+i, column.Type.SQL())
	}
	return conditions
}

// column is a column that is written as it is, one of the key if possible: fewer triggers wait for
// those.
func (pr *prober) column(ctx context.Context) (string, error) {
	t, keys := pr.state.Table, []string{}
	for _, column := range pr.state.Table.Key {
		keys = append(keys, column.Name)
	}
	var name string
	relation := pgname.Catalogue(t.Schema, t.Name)
	err := pr.source.QueryRow(ctx, sql.Query("doctor_probe_column"), relation, keys).Scan(&name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", fault.New(fault.Usage, "", "every column of %s is generated: none can be written as it is", relation)
	case err != nil:
		return "", fmt.Errorf("looking for a column of %s to write: %w", relation, err)
	}
	return name, nil
}

// another names the role that owns the table, a table below it or its schema, where that is not the
// session's own and not to be trusted; "" else. An update runs what a table's owner wrote, or comes
// to write before it is planned, with the rights of who updates. Unlike a read, it may write
// anything.
func (pr *prober) another(ctx context.Context) (owner string, err error) {
	if pr.config.Source.TrustOwner {
		return "", nil
	}
	var what, role string
	relation := pgname.Qualified(pr.state.Table.Schema, pr.state.Table.Name)
	err = pr.source.QueryRow(ctx, sql.Query("doctor_probe_owner"), relation).Scan(&what, &role)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("asking who owns %s: %w", relation, err)
	default:
		return "the " + what + ", role " + pgname.Identifier(role), nil
	}
}

// harmless refuses an update of the role's own table that calls functions of another role.
func (pr *prober) harmless(ctx context.Context, tx pgx.Tx) error {
	if pr.config.Source.TrustOwner {
		return nil
	}
	t := pr.state.Table
	found, err := replication.ForeignCode(ctx, tx, t.Schema, t.Name, true)
	if err != nil || len(found) == 0 {
		return err
	}
	return fault.New(fault.Usage, "have it call none, or set source.trust_owner: true", "an update of %s would be one with the rights of role %s: %s",
		pgname.Qualified(t.Schema, t.Name), pgname.Identifier(pr.source.Config().User), found[0])
}

// withoutRow searches for the text of a row that is there: the message has shown that the log
// reaches the sink. Who names a row is refused.
func (pr *prober) withoutRow(ctx context.Context, owner string, key change.Key) {
	what := fmt.Sprintf("an update of %s would run whatever triggers and functions %s, puts there, with the rights of role %s",
		pgname.Qualified(pr.state.Table.Schema, pr.state.Table.Name), owner, pgname.Identifier(pr.source.Config().User))
	if pr.options.Key != "" {
		pr.failed("probe.write", fault.New(fault.Usage, asOwner, "%s", what))
		return
	}
	pr.report.Add("probe.write", OK, "no row is written, the message alone was sent: "+what, "", "")
	pr.search(ctx, key)
}

const asOwner = "run the probe as the owner of both, the table and its schema, or set source.trust_owner: true"

// update returns the check that an error belongs to. The statement is parsed first, which locks the
// table.
func (pr *prober) update(ctx context.Context, key change.Key) (check string, err error) {
	const write, row, name = "probe.write", "probe.row", "wal2vec_probe"
	relation := pgname.Qualified(pr.state.Table.Schema, pr.state.Table.Name)
	set, err := pr.column(ctx)
	if err != nil {
		return row, err
	}
	oid, err := replication.TableOID(ctx, pr.source, pr.state.Table.Schema, pr.state.Table.Name)
	if err != nil {
		return row, err
	}
	column := pgname.Identifier(set)
	statement, err := sql.Render("doctor_probe_update", struct {
		Table, Column string
		Conditions    []string
	}{relation, column, pr.conditions(1)})
	if err != nil {
		return row, err
	}
	tx, err := pr.source.Begin(ctx)
	if err != nil {
		return row, fmt.Errorf("beginning an update: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing after a commit
	if _, err := tx.Prepare(ctx, name, statement); err != nil {
		return row, fmt.Errorf("preparing an update: %w", err)
	}
	if err := pr.harmless(ctx, tx); err != nil {
		return write, err
	}
	pr.say("updates the row %s of %s, setting %s to itself: its triggers run", key, relation, column)
	tag, err := tx.Exec(ctx, name, asArguments(key.Parts())...)
	if err == nil && tag.RowsAffected() == 0 {
		return row, fault.New(fault.Usage, "name another: --probe-key", "%s has no row %s, or a trigger keeps an update from it", relation, key)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	switch {
	case fault.SQLSTATE(err) == fault.NotPermitted:
		role := pgname.Identifier(pr.source.Config().User)
		still := pgname.Still(oid, pr.state.Table.Schema, pr.state.Table.Name)
		grant := pgname.Script(still, fmt.Sprintf("GRANT UPDATE (%s) ON %s TO %s", column, relation, role))
		revoke := fmt.Sprintf("REVOKE UPDATE (%s) ON %s FROM %s;", column, relation, role)
		return write, fault.Wrap(err, fault.Usage, grant+" -- for the probe; role.source warns of it until: "+revoke, "updating a row")
	case err != nil:
		return row, connect.UnreadableValue(err, "updating the row "+key.String())
	default:
		return "", nil
	}
}

func asArguments(texts []string) []any {
	values := make([]any, len(texts))
	for i, text := range texts {
		values[i] = text
	}
	return values
}

// probeInterval is how often the ledger is asked for the row: the figure is exact to about as much.
const probeInterval = 5 * time.Millisecond

// arrived waits until the ledger has the row at a position after before.
func (pr *prober) arrived(ctx context.Context, key change.Key, before change.LSN) error {
	query, err := sql.Render("doctor_probe_version", struct {
		Ledger     string
		Conditions []string
	}{pgname.Catalogue(pr.config.Sink.Schema, "ledger_"+pr.config.Pipeline), pr.conditions(3)})
	if err != nil {
		return err
	}
	arguments := append([]any{pr.state.Epoch, before.String()}, asArguments(key.Parts())...)
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		var there bool
		if err := pr.searcher.Store.Pool.QueryRow(ctx, query, arguments...).Scan(&there); err != nil {
			return fmt.Errorf("asking the ledger for the row: %w", err)
		}
		if there {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// firstHits is how many results a search for a row's own text must have it among.
const firstHits = 10

func (pr *prober) search(ctx context.Context, key change.Key) {
	ctx, cancel := pr.within(ctx, "the search did not end")
	defer cancel()
	read, err := pr.reader.Rows(ctx, []change.Key{key})
	if refused, ok := errors.AsType[*rows.PowersError](err); ok {
		pr.report.Add("probe.search", OK, "no row is searched for: "+config.Printable(refused), "", "")
		return
	}
	if err != nil {
		pr.failed("probe.search", cause(ctx, err))
		return
	}
	if len(read) == 0 {
		pr.report.Add("probe.search", OK, "the row was deleted in the meantime", "", "")
		return
	}
	template, err := engine.MadeBy(pr.config.Source.Template, pr.searcher.Active())
	if err != nil {
		pr.failed("probe.search", err)
		return
	}
	rendered := change.RenderRow(template, read[0], 0)
	if rendered.Deleted {
		pr.report.Add("probe.search", OK, read[0].WithoutVector()+": it is not searched for", "", "")
		return
	}
	pr.say("searches for the row's text")
	begun := time.Now()
	found, err := pr.searcher.Nearest(ctx, rendered.Document.Text, firstHits)
	if err != nil {
		pr.failed("probe.search", cause(ctx, err))
		return
	}
	took := since(begun)
	place := slices.IndexFunc(found.Hits, func(h sink.Hit) bool { return h.Key == key })
	switch {
	case place >= 0:
		pr.report.Add("probe.search", OK, fmt.Sprintf("result %d of a search for its text, after %s", place+1, took), "", "")
	case len(found.Hits) == firstHits && found.Hits[firstHits-1].Score > sameText:
		pr.report.Add("probe.search", OK, fmt.Sprintf("%d other rows have its text; the search took %s", firstHits, took), "", "")
	default:
		pr.failed("probe.search", fault.New(fault.Usage, "wal2vec audit", "a search for its text does not have it among the first %d results", firstHits))
	}
}

// sameText is the least similarity of vectors of one text in two precisions.
const sameText = 0.995

func since(begun time.Time) string {
	return fmt.Sprintf("%.1f ms", float64(time.Since(begun).Microseconds())/1000)
}
