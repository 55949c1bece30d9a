package pgsession

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/sql"
)

// A pooler may pass start-up parameters over (ignore_startup_parameters of PgBouncer), and may
// clear a session's settings between two statements, or have another server process answer. What
// the database or the role sets then holds, a search path with functions of another role in it
// among that. So every session sets by statement what it was started with, and where a pooler is
// seen in between it looks whether that lasts.

// said are the settings that a connection string sets, by their names in lower case: its own, and
// below them those of its options.
func said(config *pgconn.Config) map[string]string {
	settings := map[string]string{}
	for name, value := range config.RuntimeParams {
		if name == "options" {
			for key, value := range options(value) {
				if _, named := settings[key]; !named {
					settings[key] = value
				}
			}
		}
	}
	for name, value := range config.RuntimeParams {
		if name != "options" && name != replication {
			settings[strings.ToLower(name)] = value
		}
	}
	return settings
}

// options reads settings among the arguments of a server process as the server does: -c NAME=VALUE
// and --NAME=VALUE.
func options(text string) map[string]string {
	settings := map[string]string{}
	words := arguments(text)
	for i := 0; i < len(words); i++ {
		word, long := strings.CutPrefix(words[i], "--")
		if !long {
			short, found := strings.CutPrefix(words[i], "-c")
			if !found {
				continue
			}
			if word = short; word == "" && i+1 < len(words) {
				i++
				word = words[i]
			}
		}
		if name, value, found := strings.Cut(word, "="); found {
			settings[strings.ToLower(strings.ReplaceAll(name, "-", "_"))] = value
		}
	}
	return settings
}

// arguments cuts options at white space; a backslash takes the next byte as it is.
func arguments(text string) []string {
	var words []string
	var word []byte
	inside := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case strings.IndexByte(" \t\n\v\f\r", c) >= 0:
			if inside {
				words = append(words, string(word))
			}
			word, inside = nil, false
			continue
		case c == '\\' && i+1 < len(text):
			i++
			c = text[i]
		}
		word, inside = append(word, c), true
	}
	if inside {
		words = append(words, string(word))
	}
	return words
}

// asked are all settings that a session is to have, by their names in lower case: those of a
// connection string, over them the usual ones, over both those of who opens it.
func asked(config *pgconn.Config, settings ...map[string]string) map[string]string {
	wanted := said(config)
	for _, of := range append([]map[string]string{Parameters(config), change.LaterSessionParameters()}, settings...) {
		for name, value := range of {
			wanted[strings.ToLower(name)] = value
		}
	}
	return wanted
}

// asIs reports whether the server keeps bytes of which it does not know what they mean. It would
// convert none of them, and yet refuse a row with one that is not UTF-8: a replication connection
// would end there each time. So they come as they are, and we look.
func asIs(conn *pgconn.PgConn) bool { return Encoding(conn.ParameterStatus("server_encoding")) == None }

// settled is what was set, and the server process in which.
type settled struct {
	names, values []string
	process       string
	walsender     bool
}

// settledKey is where a connection has its settled of a pooler's session.
const settledKey = "wal2vec.settled"

// poolerSetting is how a connection string says of a pooler that it keeps a session on one server
// process for as long as its client is connected (PgBouncer's session mode): it is for this
// program, and goes to no server. No look could prove that: a pooler by transaction may give the
// same process each time that it is asked, and the next statement another one, under what the
// database's owner has set.
const poolerSetting, keepsSessions = "wal2vec.pooler", "session"

// told takes what a connection string says of a pooler out of the settings that go to the server,
// and reports whether it keeps sessions. A pooler refuses options, so they are left to the
// statement that sets all settings.
func told(config *pgconn.Config, wanted map[string]string) bool {
	mode, said := wanted[poolerSetting]
	delete(wanted, poolerSetting)
	maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool {
		return strings.EqualFold(name, poolerSetting) || said && name == "options"
	})
	return mode == keepsSessions
}

// wish is what a session is to have.
type wish struct {
	settings  map[string]string
	pooled    bool // its connection string says that a pooler keeps it
	walsender bool
}

// open settles a session that has begun. Where another process answers than the one that let it in,
// a pooler, it is refused, unless the connection string says that the pooler keeps it, and a look
// finds it so.
func open(ctx context.Context, conn *pgconn.PgConn, w wish) error {
	s, err := settle(ctx, conn, w)
	switch {
	case err != nil:
		return err
	case s.process == strconv.FormatUint(uint64(conn.PID()), 10):
		return nil
	case !w.pooled:
		return &PoolerError{fault.New(fault.Usage, direct+", add "+Keeps+" to the connection string", "a pooler stands before the server: it may give "+
			"each transaction another session, without the settings that statements rely on")}
	}
	conn.CustomData()[settledKey] = s
	return s.check(ctx, conn)
}

// Keeps is what a connection string has to say of a pooler, in the form of a URL.
const Keeps = "options=-c%20" + poolerSetting + "%3D" + keepsSessions

const direct = "give the address of the server itself; where the pooler keeps a session for as long as its client is connected (session mode)"

// PoolerError says that a pooler stands before the server of which nothing says, or a look
// disproves, that it keeps sessions. It is a fault of kind Usage.
type PoolerError struct{ err error }

// Error is that of the fault.
func (e *PoolerError) Error() string { return e.err.Error() }

// Unwrap returns the fault.
func (e *PoolerError) Unwrap() error { return e.err }

// keep settles a pooler's session again where it was reset since, and refuses it where it will not
// keep its settings.
func keep(ctx context.Context, conn *pgconn.PgConn, w wish) error {
	before, pooled := conn.CustomData()[settledKey].(settled)
	if !pooled || conn.TxStatus() != 'I' || before.check(ctx, conn) == nil {
		return nil
	}
	now, err := settle(ctx, conn, w)
	if err != nil {
		return err
	}
	if now.process != before.process {
		return lost("its server process")
	}
	return now.check(ctx, conn)
}

// settle sets the settings that a server knows. Who the session is comes before its role, which it
// would reset.
func settle(ctx context.Context, conn *pgconn.PgConn, w wish) (settled, error) {
	wanted := w.settings
	if asIs(conn) {
		wanted = maps.Clone(wanted)
		wanted["client_encoding"] = string(None)
	}
	names := slices.Sorted(maps.Keys(wanted))
	const first = "session_authorization"
	if i, found := slices.BinarySearch(names, first); found {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, first)
	}
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = wanted[name]
	}
	process := "0"
	if !w.pooled {
		process = strconv.FormatUint(uint64(conn.PID()), 10)
	}
	rows, err := ask(ctx, conn, "session_settle", w.walsender, array(names), array(values), process)
	if err != nil {
		return settled{}, err
	}
	s := settled{walsender: w.walsender}
	for _, row := range rows {
		if len(row) != 3 {
			return settled{}, fmt.Errorf("%d columns of 3", len(row))
		}
		s.names, s.values, s.process = append(s.names, string(row[0])), append(s.values, string(row[1])), string(row[2])
	}
	return s, nil
}

// check looks at what was set by the statement before, as the next one finds it.
func (s settled) check(ctx context.Context, conn *pgconn.PgConn) error {
	rows, err := ask(ctx, conn, "session_holds", s.walsender, array(s.names), array(s.values))
	switch {
	case err != nil:
		return err
	case len(rows) != 1 || len(rows[0]) != 2:
		return fmt.Errorf("%d rows of 1", len(rows))
	case string(rows[0][1]) != s.process:
		return lost("its server process")
	case len(rows[0][0]) > 0:
		return lost(string(rows[0][0]))
	default:
		return nil
	}
}

func lost(what string) error {
	return &PoolerError{fault.New(fault.Usage, "give the address of the server itself, or of a pooler that keeps sessions",
		"a pooler stands before the server, and a session of it does not keep %s from one statement to the next", what)}
}

// ask runs a query of this package with names, values and a process. A walsender takes the simple
// protocol alone.
func ask(ctx context.Context, conn *pgconn.PgConn, query string, walsender bool, arguments ...string) ([][][]byte, error) {
	places, values := make([]string, 3), make([][]byte, len(arguments))
	for i, argument := range arguments {
		places[i], values[i] = "$"+strconv.Itoa(i+1), []byte(argument)
		if walsender {
			places[i] = pgname.Literal(argument)
		}
	}
	text, err := sql.Render(query, struct{ Names, Values, Process string }{places[0], places[1], places[2]})
	if err != nil {
		return nil, err
	}
	if !walsender {
		result := conn.ExecParams(ctx, text, values, nil, nil, nil).Read()
		return result.Rows, result.Err
	}
	results, err := conn.Exec(ctx, text).ReadAll()
	if err != nil || len(results) != 1 {
		return nil, cmp.Or(err, fmt.Errorf("%d results of 1", len(results)))
	}
	return results[0].Rows, nil
}

// array is an array literal.
func array(elements []string) string {
	quoted := make([]string, len(elements))
	for i, element := range elements {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(element) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}
