package doctor

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/replication"
)

// reader is the session that stands for those that read rows of the table: one of source.read_dsn,
// or the source's own.
type reader struct {
	conn *pgx.Conn
	role string // quoted
	// apart is true where source.read_dsn names it.
	apart bool
}

// asReader is what a role that reads has to be.
var asReader = inSettings("source.read_dsn: a role that only reads, and tables of one owner alone (deploy/roles.sql, wal2vec.read)")

// openReader opens that session; conn is nil where it cannot be asked, which is a finding.
func (e *examination) openReader(ctx context.Context) (r reader) {
	const check = "role.read"
	r.apart = e.opts.Config.Source.ReadDSN != ""
	if !r.apart {
		r.conn, r.role = e.source.conn, pgname.Identifier(e.source.info.User)
		return r
	}
	settings, err := pgx.ParseConfig(e.opts.Config.Source.ReadDSN.Reveal())
	if err != nil {
		e.judge(check, connect.UnreadableDSN(err, connect.ByReader), Source, "")
		return r
	}
	e.configure(settings)
	conn, err := pgsession.Source(ctx, settings, nil)
	if err != nil {
		e.judge(check, connect.Unconnected(err, connect.ByReader), Source, "")
		return r
	}
	err = e.arm(ctx, conn)
	var info replication.ServerInfo
	if err == nil {
		info, err = replication.Server(ctx, conn)
	}
	own := e.source.info
	switch {
	case !e.could(err, check):
	case info.SystemID != own.SystemID || info.Database != own.Database:
		e.fail(check, inSettings("source.read_dsn: the server and the database of source.dsn"),
			"source.read_dsn leads to database %s of system %s, source.dsn to %s of %s", info.Database, info.SystemID, own.Database, own.SystemID)
	default:
		r.conn, r.role = conn, pgname.Identifier(info.User)
		return r
	}
	_ = conn.Close(ctx) // nothing depends on a polite end
	return r
}

// close ends the session of source.read_dsn.
func (r reader) close(ctx context.Context) {
	if r.apart && r.conn != nil {
		_ = r.conn.Close(ctx) // nothing depends on a polite end
	}
}

// examineReader looks at what the role that reads could let the table's owner have.
func (e *examination) examineReader(ctx context.Context, r reader) {
	const check = "role.read"
	c := e.opts.Config
	powers, err := replication.Beyond(ctx, r.conn, c.Source.Table.Schema, c.Source.Table.Name)
	if !e.could(err, check) {
		return
	}
	own := []string{} // the schemas of what a role that searches reads in the sink
	if !r.apart && e.searches() {
		own = append(own, c.Sink.Schema, c.Sink.View.Schema)
	}
	table, owner, err := replication.ReadsBeside(ctx, r.conn, "", c.Source.Table.Schema, c.Source.Table.Name, own...)
	switch {
	case !e.could(err, check):
	case powers.What == "":
		e.ok(check, "role %s reads the table, and its owner has no rights by that which it has not", r.role)
	case c.Source.TrustOwner:
		e.ok(check, "source.trust_owner is true: role %s reads the table, whatever it may do besides", r.role)
	case powers.Any():
		e.warn(check, onServer(powers.Try()), "%s: no command reads it", powers.Refusal(r.role))
	case table != "":
		e.warn(check, asReader, "role %s may read %s of role %s, and role %s, to whom %s belongs, could have it read that", r.role, table, owner,
			powers.Owner, powers.What)
	default:
		e.ok(check, "role %s reads the table, and no table of another owner", r.role)
	}
}
