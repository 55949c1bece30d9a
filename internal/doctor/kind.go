package doctor

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/pgname"
	queries "github.com/wal2vec/wal2vec/sql"
)

// kind is what a role is for, as its rights say. A fix that is right for one is wrong for another:
// who searches needs no REPLICATION.
type kind int

const (
	unknownKind  kind = iota // there is no ledger yet, or it cannot be asked
	adminKind                // owns wal2vec's tables: sets up and tears down
	streamKind               // writes the ledger: streams and backfills
	searchKind               // reads the ledger
	strangerKind             // has no right to the ledger
)

// findKind asks what the role is for.
func (e *examination) findKind(ctx context.Context) {
	var owns, writes, reads bool
	c := e.opts.Config
	if _, err := e.sink.store.Trusted(ctx); err != nil { // what stands there may have been planted, to have a role told that it streams
		e.sink.kind = strangerKind
		return
	}
	if standing, err := e.sink.store.Standing(ctx); err == nil {
		e.sink.standing = &standing
	}
	err := e.sink.pool.QueryRow(ctx, queries.Query("doctor_kind"), c.Sink.Schema, "ledger_"+c.Pipeline).Scan(&owns, &writes, &reads, &e.sink.role)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err != nil: // the checks of the sink's tables say why
	case owns:
		e.sink.kind = adminKind
	case writes:
		e.sink.kind = streamKind
	case reads:
		e.sink.kind = searchKind
	default:
		e.sink.kind = strangerKind
	}
}

// searches reports whether the settings are those of a role that only searches: it reads the sink,
// and may open no replication connection on the source.
func (e *examination) searches() bool { return e.sink.kind == searchKind && !e.source.replicates }

// administers reports whether the role on the source is the one that sets pipelines up: it has the
// rights of the table's owner, or is the owner of wal2vec's tables.
func (e *examination) administers(tableOurs bool) bool {
	return tableOurs || e.sink.kind == adminKind && e.sink.role == e.source.info.User
}

// mayStream reports whether the role is one to give what a stream needs: it streams, or nothing is
// set up yet that would say that it does not. One that only sets pipelines up, beside one that
// streams, is none.
func (e *examination) mayStream() bool {
	s := e.sink.standing
	// The sink knows its own session's role: another one at the source, by another connection
	// string, may be any.
	return s != nil && s.Role == e.source.info.User && (s.Streams || e.sink.kind == unknownKind && (s.SetsUp == "" || s.SetsUp == s.Role))
}

// toStream is the advice to give the role what a stream needs, where it may be one that streams.
func (e *examination) toStream(statement string) advice {
	switch {
	case !e.mayStream():
		return asStreamer
	case e.sink.kind == unknownKind:
		return inSource(statement + " -- if it is to stream: no other role needs that")
	default:
		return inSource(statement)
	}
}

// isFor says of a role that only searches which commands it is for.
func (e *examination) isFor() string {
	return "role " + pgname.Identifier(e.source.info.User) + " reads: it is for search and status, and no stream's role"
}

// asMonitor gives no right away: who sees other sessions reads the statements that they send, and
// so could the owner of a table that it reads.
var asMonitor = inSettings("source.dsn, for one run of doctor: a role with pg_monitor and no right to the table; " +
	"a GRANT of it to this role would show it the statements of others, and the passwords in them")

var asStreamer = inSettings("source.dsn (and sink.dsn): the role that streams, to run stream, backfill or audit, or to check its rights")
