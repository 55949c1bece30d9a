package pgsession

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// On one machine any account can have the server's port for a while: while the server restarts, and
// for good where the server goes on without one of its addresses. It could then pass the login on
// to the server, SCRAM's too, and add statements of its own. The kernel knows which account has the
// other end of a connection that does not leave the machine, so it is asked before anything that
// proves who we are goes there.
//
// The server is believed where that account is root, the one that runs this program, one that
// WAL2VEC_TRUST_UIDS names, or has the name that packages give to the server's account. Each other
// one has to be named by the connection string or the environment, as libpq's requirepeer does;
// that then is the only one.

const (
	requirePeer = "requirepeer"
	// PeerVariable is libpq's variable for requirepeer.
	PeerVariable = "PGREQUIREPEER"
	// usualAccount is the name of the server's account in the packages of every distribution; root
	// alone gives names to accounts.
	usualAccount = "postgres"
)

// standing says what is known of the account at the other end of a connection.
type standing int

const (
	unknown   standing = iota // the system does not tell
	remote                    // it is on another machine
	elsewhere                 // root's rules of the network lead this machine's address away from it, to a container for one
	unowned                   // no process has it: it is not accepted yet, or closed
	owned
)

// peer is the other end of a connection.
type peer struct {
	standing

	uid uint32
}

// meet finds the other end of a connection.
func meet(conn net.Conn) peer {
	if front, ok := conn.(*tls.Conn); ok {
		conn = front.NetConn()
	}
	if conn.RemoteAddr().Network() == "unix" {
		return credentials(conn)
	}
	ours, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return peer{}
	}
	theirs, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return peer{}
	}
	ours, theirs = plainAddress(ours), plainAddress(theirs)
	if !theirs.Addr().IsLoopback() && theirs.Addr() != ours.Addr() {
		return peer{standing: remote}
	}
	return holder(ours, theirs)
}

func plainAddress(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// usual reports whether an account is one that a server may have where nothing names another.
func usual(uid uint32) bool {
	return safefile.Trusts(uid) || !safefile.Hidden(uid) && accountName(uid) == usualAccount
}

// accountName returns the name of an account, or its number where it has none.
func accountName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if who, err := user.LookupId(number); err == nil && who.Username != "" {
		return who.Username
	}
	return number
}

// mayBe reports whether an account is the one that requirepeer names, by name or number, or a usual
// one where it names none.
func mayBe(uid uint32, required string) bool {
	if required == "" {
		return usual(uid)
	}
	return required == strconv.FormatUint(uint64(uid), 10) || required == accountName(uid)
}

// judge returns a fault where the server at the other end is not known to be the right one. Time
// may repair that: the port may be the server's again a moment later.
func (p peer) judge(required, at string) error {
	switch {
	case p.standing == remote, p.standing == unowned, p.standing == owned && mayBe(p.uid, required):
		return nil // libpq asks for no account of another machine either; what no process has open, none reads
	case p.standing == owned:
		return stranger(p.uid, required, at)
	case required != "":
		return fault.New(fault.Unavailable,
			"take requirepeer ("+PeerVariable+") back, and have the server prove itself by its certificate (sslmode=verify-full)",
			"requirepeer asks which account the server at %s has, and the system does not tell", at)
	default: // only root leads this machine's addresses elsewhere
		return nil
	}
}

func stranger(uid uint32, required, at string) error {
	name := accountName(uid)
	who := fmt.Sprintf("the account %s (uid %d)", pgname.Visible(name), uid)
	if safefile.Hidden(uid) {
		who = fmt.Sprintf("an account that this user namespace does not know (shown as uid %d)", uid)
	}
	if required != "" {
		return fault.New(fault.Unavailable, "see what listens at that address; if that account runs the server, name it in requirepeer ("+PeerVariable+")",
			"the server at %s is of %s, requirepeer names %s", at, who, pgname.Visible(required))
	}
	return fault.New(fault.Unavailable, "see what listens at that address; if that account runs the server, export "+PeerVariable+"="+pgname.Shell(name)+
		", or add requirepeer="+pgname.Conninfo(name)+
		" to the connection string; else connect by the folder of the server's socket, or by sslmode=verify-full",
		"the server at %s is of %s, which is neither root, this account, nor %s", at, who, usualAccount)
}

// required takes the account that a connection string, or else the environment, asks for out of the
// settings that go to the server.
func required(config *pgconn.Config) string {
	said, found := config.RuntimeParams[requirePeer]
	delete(config.RuntimeParams, requirePeer)
	if !found {
		said = os.Getenv(PeerVariable)
	}
	return said
}

// Account says which account of this machine has the server of a session, or "" where it is another
// machine's or the system does not tell.
func Account(conn *pgconn.PgConn) string {
	p := meet(conn.Conn())
	switch {
	case p.standing != owned:
		return ""
	case safefile.Hidden(p.uid):
		return fmt.Sprintf("hidden in this user namespace (uid %d)", p.uid)
	default:
		return fmt.Sprintf("%s (uid %d)", pgname.Visible(accountName(p.uid)), p.uid)
	}
}
