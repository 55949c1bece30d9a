package pgtest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Pooler stands before a server as PgBouncer does: it makes up the process id that it tells the
// client.
type Pooler struct {
	// Drop are startup parameters that it keeps from the server, Ignore has it keep all of them but
	// who connects to what; Refuse makes it refuse any that it does not know.
	Drop           []string
	Ignore, Refuse bool
	// Reset tells what is run on the server's session behind its transaction of a number, from 1,
	// as server_reset_query_always has PgBouncer do behind each; empty runs nothing.
	Reset func(transaction int) string
}

// Before starts a pooler before a database, and returns the connection string of which another
// leads to it instead. It ends with the test.
func (p Pooler) Before(tb testing.TB, db *DB, connString string) string {
	tb.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var serving sync.WaitGroup
	tb.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	server := net.JoinHostPort("127.0.0.1", strconv.Itoa(db.Host.Port()))
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(client, server) })
		}
	})
	dsn, err := url.Parse(connString)
	if err != nil {
		tb.Fatal(err)
	}
	dsn.Host = listener.Addr().String()
	query := dsn.Query()
	query.Set("sslmode", "disable")
	dsn.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return dsn.String()
}

func (p Pooler) serve(client net.Conn, address string) {
	defer func() { _ = client.Close() }()
	backend := pgproto3.NewBackend(client, client)
	message, err := backend.ReceiveStartupMessage()
	startup, ok := message.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return // a request to cancel
	}
	if p.Refuse {
		backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: extra_float_digits"})
		_ = backend.Flush()
		return
	}
	maps.DeleteFunc(startup.Parameters, func(name, _ string) bool {
		return slices.Contains(p.Drop, name) || p.Ignore && !slices.Contains([]string{"user", "database", "replication"}, name)
	})
	var dialer net.Dialer
	server, err := dialer.DialContext(context.Background(), "tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	raw, err := startup.Encode(nil)
	if err == nil {
		_, err = server.Write(raw)
	}
	if err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	_ = p.relay(client, server)
	_ = client.Close()
	both.Wait()
}

// relay passes the server's messages on with another process id in BackendKeyData. The first
// ReadyForQuery is that of the start.
func (p Pooler) relay(client io.Writer, server io.ReadWriter) error {
	transactions, resetting := -1, false
	for {
		header := make([]byte, 5)
		if _, err := io.ReadFull(server, header); err != nil {
			return fmt.Errorf("reading a message: %w", err)
		}
		body := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
		if _, err := io.ReadFull(server, body); err != nil {
			return fmt.Errorf("reading a message: %w", err)
		}
		if resetting && header[0] != 'Z' {
			continue
		}
		switch {
		case header[0] == 'K':
			binary.BigEndian.PutUint32(body, binary.BigEndian.Uint32(body)+1_000_000)
		case resetting:
			resetting = false
		case header[0] == 'Z' && body[0] == 'I':
			transactions++
			raw, err := p.reset(transactions)
			if err == nil && raw != nil {
				_, err = server.Write(raw)
				resetting = true
			}
			if err != nil {
				return fmt.Errorf("resetting the session: %w", err)
			}
		}
		if resetting {
			continue
		}
		if _, err := client.Write(slices.Concat(header, body)); err != nil {
			return fmt.Errorf("passing a message on: %w", err)
		}
	}
}

// reset is the message that resets the session behind a transaction, nil for none.
func (p Pooler) reset(transaction int) ([]byte, error) {
	if p.Reset == nil || transaction == 0 || p.Reset(transaction) == "" {
		return nil, nil
	}
	return (&pgproto3.Query{String: p.Reset(transaction)}).Encode(nil)
}
