package replication_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

// beforeCalls returns a connection string that leads to the database by way of a relay, which has
// the test do something before it hands on a statement that calls the function by its name, or a
// message that calls a function by its object id.
func (f *following) beforeCalls(t *testing.T, dsn string, do func()) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { f.relay(t, client, target, do) })
		}
	})
	u.Host = listener.Addr().String()
	query := u.Query()
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	return u.String()
}

func (f *following) relay(t *testing.T, client net.Conn, target string, do func()) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var group sync.WaitGroup
	group.Go(func() {
		_, _ = io.Copy(client, server) // until either end is gone
		_ = client.Close()
	})
	defer group.Wait()
	defer server.Close()
	reader := bufio.NewReader(client)
	for head := 4; ; head = 5 { // the first message has no type
		message := make([]byte, head)
		if _, err := io.ReadFull(reader, message); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(message[head-4:])-4)
		if _, err := io.ReadFull(reader, body); err != nil {
			return
		}
		if head == 5 && (message[0] == 'F' || (message[0] == 'Q' || message[0] == 'P') && strings.Contains(string(body), f.call)) {
			do()
		}
		if _, err := server.Write(slices.Concat(message, body)); err != nil {
			return
		}
	}
}

// TestAFunctionThatTakesTheNameIsNotCalled: the owner of the schema may drop what is in it, and put
// a function of the same name there between the look and the call.
func TestAFunctionThatTakesTheNameIsNotCalled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *pgtest.DB) {
		f := newFollowing(t, db)
		stranger, _ := f.newRole(t, "")
		db.Exec(t, `RESET ROLE; CREATE TABLE loot (role text); GRANT INSERT ON loot TO PUBLIC; ALTER SCHEMA public OWNER TO `+stranger)
		exchanged := 0
		dsn := f.beforeCalls(t, db.DSNFor(f.role, f.password), func() {
			exchanged++
			if exchanged > 1 {
				return
			}
			db.Exec(t, "SET ROLE "+stranger+`; DROP FUNCTION public.follow(); CREATE FUNCTION public.follow() RETURNS void LANGUAGE sql
				AS 'INSERT INTO public.loot VALUES (current_user)'; RESET ROLE`)
		})
		_, err := replication.PrepareSwap(t.Context(), dsn, f.swap)
		if exchanged == 0 {
			t.Fatalf("there was no call: %v (%s)", err, fault.Try(err))
		}
		if ran := pgtest.Column[string](t, db, "SELECT role FROM loot"); len(ran) > 0 {
			t.Errorf("the planted function ran as %v", ran)
		}
		if fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), "does not exist") || f.published(t) {
			t.Errorf("got %v (%s)", err, fault.Try(err))
		}
	})
}
