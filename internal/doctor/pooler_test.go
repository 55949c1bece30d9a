package doctor_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/internal/pgtest"
)

// pooler stands before a server as PgBouncer does: it makes up the process id that it tells the client.
type pooler struct {
	// drop are startup parameters that it keeps from the server; refuse makes it refuse any that it does not know.
	drop   []string
	refuse bool
}

// before starts a pooler before a database, and returns the connection string that leads to it.
func (p pooler) before(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
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
	dsn, err := url.Parse(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	dsn.Host = listener.Addr().String()
	query := dsn.Query()
	query.Set("sslmode", "disable")
	dsn.RawQuery = query.Encode()
	return dsn.String()
}

func (p pooler) serve(client net.Conn, address string) {
	defer client.Close()
	backend := pgproto3.NewBackend(client, client)
	message, err := backend.ReceiveStartupMessage()
	startup, ok := message.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return // a request to cancel
	}
	if p.refuse {
		backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: extra_float_digits"})
		_ = backend.Flush()
		return
	}
	for _, name := range p.drop {
		delete(startup.Parameters, name)
	}
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
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
	_ = relay(client, server)
	_ = client.Close()
	both.Wait()
}

// relay passes the server's messages on with another process id in BackendKeyData.
func relay(client io.Writer, server io.Reader) error {
	for {
		header := make([]byte, 5)
		if _, err := io.ReadFull(server, header); err != nil {
			return fmt.Errorf("reading a message: %w", err)
		}
		body := make([]byte, binary.BigEndian.Uint32(header[1:])-4)
		if _, err := io.ReadFull(server, body); err != nil {
			return fmt.Errorf("reading a message: %w", err)
		}
		if header[0] == 'K' {
			binary.BigEndian.PutUint32(body, binary.BigEndian.Uint32(body)+1_000_000)
		}
		if _, err := client.Write(slices.Concat(header, body)); err != nil {
			return fmt.Errorf("passing a message on: %w", err)
		}
	}
}
