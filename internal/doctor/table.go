package doctor

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
	queries "github.com/wal2vec/wal2vec/sql"
)

// examineTable looks at the source's table, and at the publication with the pipeline's own word of
// the table, if there is one.
func (e *examination) examineTable(ctx context.Context) {
	if e.source.conn == nil {
		return
	}
	defer e.judgeSinkEncoding()
	c := e.opts.Config
	options := replication.InspectOptions{
		Schema: c.Source.Table.Schema, Table: c.Source.Table.Name, Key: c.Source.Key, Template: c.Source.Template, SoftDelete: c.Source.SoftDelete,
		Reader: connect.Reader(c), TrustOwner: c.Source.TrustOwner,
	}
	if e.state != nil && len(e.state.Generations) > 0 {
		if template, err := e.state.Template(); err == nil {
			options.Template = template // all that is written
		}
	}
	table, problems := replication.Examine(ctx, e.source.conn, options)
	if len(problems) == 0 {
		e.table = &table
	}
	good := map[replication.Aspect]string{
		replication.AspectRelation: "table " + c.Source.Table.String() + " is followed", replication.AspectColumns: "the columns are there and may be read",
		replication.AspectKey: "a unique index covers the key", replication.AspectIdentity: "updates and deletes name their row",
	}
	for _, p := range problems {
		delete(good, p.Aspect)
		if _, unreadable := errors.AsType[*replication.UnreadableError](p.Err); unreadable && e.searches() {
			e.ok("table.columns", "%s: it may not read all of its columns, and search shows those that it may read", e.isFor())
			continue
		}
		if _, hidden := errors.AsType[*replication.HiddenError](p.Err); hidden && e.searches() {
			e.ok("table.relation", "%s: policies hide rows of the table from it", e.isFor()) // which of them it is to see is not for an advice
			return
		}
		e.judge("table."+string(p.Aspect), p.Err, Source, "")
		if p.Aspect == replication.AspectRelation {
			return
		}
		if p.Aspect == replication.AspectKey {
			delete(good, replication.AspectIdentity) // not looked at
		}
	}
	for aspect, text := range good {
		e.ok("table."+string(aspect), "%s", text)
	}
	r := e.openReader(ctx)
	defer r.close(context.WithoutCancel(ctx))
	e.examineOwners(ctx, options, table.OID, r)
	if r.conn != nil {
		e.examineReader(ctx, r)
		e.examineCode(ctx, options, r)
	}
	e.examineRights(ctx, options, table.OID)
	if e.state != nil {
		e.examinePublication(ctx)
	}
}

// owners is a row of doctor_publication: what a session's role has to do with the owners of table
// and publication.
type owners struct {
	publicationOurs, tableOurs, readable, partitioned, everything bool
	publication, table                                            string
	others                                                        int
}

func (e *examination) askOwners(ctx context.Context, conn *pgx.Conn, oid uint32) (o owners, err error) {
	err = conn.QueryRow(ctx, queries.Query("doctor_publication"), e.opts.Config.Source.Publication, oid).
		Scan(&o.publicationOurs, &o.publication, &o.tableOurs, &o.table, &o.readable, &o.partitioned, &o.others, &o.everything)
	return o, err
}

// examineOwners looks at what following another table of this name takes, and at what is published
// besides.
func (e *examination) examineOwners(ctx context.Context, options replication.InspectOptions, oid uint32, r reader) {
	c := e.opts.Config
	o, err := e.askOwners(ctx, e.source.conn, oid)
	if !e.could(err, "role.owner", "role.swap", "role.future", "table.partitions", "publication.owner", "publication.others") {
		return
	}
	if o.partitioned {
		e.warn("table.partitions", inShell("wal2vec backfill"),
			"%s is partitioned: after a TRUNCATE of one partition, rows of it stay until the next backfill", c.Source.Table)
	} else {
		e.ok("table.partitions", "%s is not partitioned", c.Source.Table)
	}
	swap := replication.Swap{
		Publication: c.Source.Publication, Table: options, Is: oid, Function: replication.SwapFunction(c.Source.Table.Schema, e.opts.Config.Pipeline),
	}
	rights, err := swap.Rights(ctx, e.source.conn)
	e.examineSwapRole(ctx, swap, rights, err)
	may, role := rights.May(), rights.Role
	e.swaps = err == nil && may && e.opts.Config.Stream.OnSwap == config.SwapFollow
	switch {
	case !e.could(err, "role.owner"):
	case e.searches():
		e.ok("role.owner", "%s: a table that is replaced is not its to follow", e.isFor())
	case e.opts.Config.Stream.OnSwap != config.SwapFollow:
		e.ok("role.owner", "stream.on_swap is %s: a table that is replaced is not to be followed", e.opts.Config.Stream.OnSwap)
	case may || o.tableOurs && o.publication == "": // who makes the publication owns it
		e.ok("role.owner", "role %s may follow a table that is replaced", role)
	case !o.tableOurs:
		e.warn("role.owner", e.grantStream(role, o.table),
			"role %s has not the rights of %s, who owns %s: a table that is replaced is not followed", role, o.table, c.Source.Table)
	default:
		e.warn("role.owner", e.grantStream(role, o.publication),
			"role %s has not the rights of %s, who owns publication %s: a table that is replaced is not followed",
			role, o.publication, c.Source.Publication)
	}
	e.judgeFuture(ctx, swap, future{owner: o.table, readable: o.tableOurs || o.readable || rights.Grants(options.ReadColumns())}, r)
	err = replication.CheckPublicationOwner(ctx, e.source.conn, c.Source.Publication, oid)
	e.judge("publication.owner", err, Source, "no other role than one with the rights of the table's owner decides what publication %q carries",
		c.Source.Publication)
	switch {
	case o.publication == "":
		e.skip("publication.others", "publication %q does not exist", c.Source.Publication)
	case o.others > 0 && o.everything: // no ALTER takes tables out of it, and a stream does not outlive its publication
		e.warn("publication.others", nothing, "publication %q is FOR ALL TABLES: it carries %d others", c.Source.Publication, o.others)
	case o.others > 0: // they may be what another pipeline, or another subscriber, reads: only their owner knows
		e.warn("publication.others", inSettings("source.publication: name one of its own; or take the others out, where no other program reads them here"),
			"publication %q carries %d other tables", c.Source.Publication, o.others)
	default:
		e.ok("publication.others", "publication %q carries nothing else", c.Source.Publication)
	}
}

// future is whether the session's own role may read a table that takes the place of this one.
type future struct {
	owner    string // of the table
	readable bool
}

// judgeFuture says whether the role that reads may read a table that takes the place of this one.
func (e *examination) judgeFuture(ctx context.Context, swap replication.Swap, f future, r reader) {
	const check = "role.future"
	c := e.opts.Config
	role, fix := pgname.Identifier(e.source.info.User), e.grantStream(e.source.info.User, f.owner)
	if r.apart {
		if r.conn == nil {
			return // role.read says why
		}
		o, err := e.askOwners(ctx, r.conn, swap.Is)
		if !e.could(err, check) {
			return
		}
		rights, err := swap.Rights(ctx, r.conn)
		if !e.could(err, check) {
			return
		}
		role, f.readable = r.role, o.tableOurs || o.readable || rights.Grants(swap.Table.ReadColumns())
		fix = inShell("wal2vec init " + pgname.Flag("grant-read", rights.Role) + "  # as a role that set the pipeline up and has the rights of " +
			pgname.Identifier(f.owner))
	}
	switch {
	case f.readable:
		e.ok(check, "role %s may read tables that %s makes in schema %s", role, f.owner, c.Source.Table.Schema)
	case e.searches() && !r.apart:
		e.ok(check, "%s: of a new table in its place it reads what its owner grants", e.isFor())
	default:
		e.warn(check, fix, "role %s may not read tables that %s will make in schema %s: one that is built again in the place of %s is not readable",
			role, f.owner, c.Source.Table.Schema, c.Source.Table)
	}
}

// untrusted is what helps against functions of another role: each way is somebody's decision. To
// give the function to a superuser is none: it would go on calling the other functions of its
// maker, and pass as trusted.
const untrusted = "have the owner of the table drop what calls the function; read the table as a role that only reads " +
	"(source.read_dsn), never as a superuser; or set source.trust_owner: true"

// examineCode looks for functions of other roles that a read of the table calls with this role's
// rights, and says where these are too many for any.
func (e *examination) examineCode(ctx context.Context, options replication.InspectOptions, r reader) {
	const check = "table.code"
	table := e.opts.Config.Source.Table
	found, err := replication.ForeignCode(ctx, r.conn, options.Schema, options.Table, false)
	if !e.could(err, check) {
		return
	}
	refused := false
	if !e.opts.Config.Source.TrustOwner {
		powers, err := replication.Beyond(ctx, r.conn, options.Schema, options.Table)
		if !e.could(err, check) {
			return
		}
		if refused = powers.Any(); refused {
			e.warn(check, onServer(powers.Try()), "%s: no command reads it", powers.Refusal(r.role))
		}
	}
	switch {
	case len(found) == 0 && refused:
	case len(found) == 0:
		e.ok(check, "a read of %s calls no function of another role", table)
	case e.opts.Config.Source.TrustOwner:
		e.ok(check, "source.trust_owner is true: a read of %s may call functions of other roles", table)
	default:
		for _, code := range found {
			e.warn(check, onServer(untrusted), "%s, with the rights of role %s, each time that %s is read",
				code, r.role, table)
		}
	}
}

// grantStream is what the owner runs, so that the stream's role needs none of the owner's rights.
func (e *examination) grantStream(role, owner string) advice {
	if e.sink.kind == strangerKind || e.sink.role != "" && e.sink.role != e.source.info.User {
		return asStreamer
	}
	as := "  # as a role that set the pipeline up and has the rights of " + pgname.Identifier(owner)
	return inShell("wal2vec init " + pgname.Flag("grant-stream", role) + as)
}

// examinePublication asks about the table that the pipeline follows: it may no longer be the one of
// this name.
func (e *examination) examinePublication(ctx context.Context) {
	c := e.opts.Config
	followed := e.state.Table
	followed.Template, followed.SoftDelete = c.Source.Template, c.Source.SoftDelete
	err := replication.CheckPublication(ctx, e.source.conn, c.Source.Publication, followed)
	const present, complete = "publication.present", "publication.complete"
	_, swapped := errors.AsType[*replication.SwapError](err)
	switch fault.KindOf(err) {
	case fault.Gap: // it is not looked at further
		if swapped && e.swaps {
			e.warn(present, inShell("wal2vec stream  # it follows the new table"), "%s, which a stream follows", config.Printable(err))
			return
		}
		e.judge(present, err, Source, "")
	case fault.Usage:
		e.ok(present, "publication %q carries %s", c.Source.Publication, c.Source.Table)
		e.judge(complete, err, Source, "")
	default:
		if e.could(err, present, complete) {
			e.ok(present, "publication %q carries %s", c.Source.Publication, c.Source.Table)
			e.ok(complete, "all operations, rows and columns")
		}
	}
}
