package replication

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
	"github.com/wal2vec/wal2vec/sql"
)

// PeekOptions say what of a slot is peeked at.
type PeekOptions struct {
	Slot        string
	Publication string
	Table       change.Table
	// From and To bound the transactions: what ends at or below From, and what begins to commit
	// behind To, is left out.
	From, To change.LSN
}

// Peek calls each with the events of the transactions between two positions without moving the
// slot, which no process may be reading: that is a fault of kind Busy. The server decodes
// everything from the confirmed position on before the first event comes. A slot that was confirmed
// beyond From in the meantime is a fault of kind Unavailable: some events were not there any more.
// An event may come twice. A row takes no more memory than in a stream: what the table's template
// reads of it, within its bound, and not the message.
func Peek(ctx context.Context, conn *pgx.Conn, o PeekOptions, each func(change.Event)) error {
	err := peek(ctx, conn, o, false, each)
	if fault.Untranslatable(err) { // texts are asked for as they are, as a stream does
		if err = encode(ctx, conn, string(pgsession.EncodingOf(conn))); err == nil {
			err = peek(ctx, conn, o, true, each)
			if restored := encode(ctx, conn, string(pgsession.UTF8)); err == nil {
				err = restored
			}
		}
	}
	return err
}

// encode makes a session speak an encoding.
func encode(ctx context.Context, conn *pgx.Conn, encoding string) error {
	if _, err := conn.Exec(ctx, "SELECT pg_catalog.set_config('client_encoding', $1, false)", encoding); err != nil {
		return fmt.Errorf("changing the encoding of a session: %w", err)
	}
	return nil
}

func peek(ctx context.Context, conn *pgx.Conn, o PeekOptions, foreign bool, each func(change.Event)) error {
	publication := pgname.Catalogue(o.Publication)
	rows, err := conn.Query(ctx, sql.Query("source_peek"), o.Slot, o.To.String(), publication)
	if err != nil {
		return fmt.Errorf("peeking at slot %q: %w", o.Slot, err)
	}
	decoder := pgoutput.NewDecoder(o.Table, pgoutput.Limits{})
	decoder.PassOver(o.From)
	if foreign {
		decoder.Foreign()
	}
	err = events(&peeked{rows: rows}, decoder, o.From, each)
	rows.Close()
	if fault.SQLSTATE(err) == "42501" {
		return fault.Wrap(err, fault.Usage, "run it as the role that streams, or while a stream runs",
			"peeking at slot %q, which takes the role that streams", o.Slot)
	}
	if err != nil {
		return fmt.Errorf("peeking at slot %q: %w", o.Slot, err)
	}
	state, err := ReadSlot(ctx, conn, o.Slot)
	if err != nil {
		return err
	}
	if state.ConfirmedFlush > o.From {
		return fault.New(fault.Unavailable, "try again", "slot %q was read in the meantime", o.Slot)
	}
	return nil
}
