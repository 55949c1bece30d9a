package pgtest

import (
	"context"
	"errors"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Nonsense is a server that knows the answers of a recording and spoils those that its script says.
// It ends every session after sessionAnswers executions, so that no client waits or reads for ever.
type Nonsense struct {
	recording Recording

	mu     sync.Mutex
	script []byte
	said   int
	wrong  []string

	// running counts the sessions, whose end is told by ended. A client that closes may dial once
	// more, to cancel, whatever Wait is at: a WaitGroup would not take that.
	running int
	ended   *sync.Cond
}

// NewNonsense returns a server for one client. The script's bytes are used up one execution after
// another: a byte below 128 lets an answer be; the others say how it is spoilt, and the bytes
// behind them where and with what.
func NewNonsense(recording Recording, script []byte) *Nonsense {
	n := &Nonsense{recording: recording, script: script}
	n.ended = sync.NewCond(&n.mu)
	return n
}

// Bounds of a server of nonsense: executions of one session and of all, and rows of an answer.
const (
	sessionAnswers = 300
	allAnswers     = 2000
	endlessRows    = 1000
)

// Hostile marks every text that the server makes up. Outside of a quoted name or text no statement
// may hold it.
const Hostile = "hOsTiLe"

// codes are what the server may say instead of an answer.
var codes = []string{"42P01", "42501", "40001", "55P03", "57P01", "XX000", "", "42601", "25006", "53300"}

// Dial is a pgconn.DialFunc.
func (n *Nonsense) Dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	n.mu.Lock()
	n.running++
	n.mu.Unlock()
	go func() {
		n.serve(server)
		n.mu.Lock()
		n.running--
		n.mu.Unlock()
		n.ended.Broadcast()
	}()
	return client, nil
}

// Listen answers connections to a port of this machine until the test ends.
func (n *Nonsense) Listen(tb testing.TB) (address string) {
	tb.Helper()
	return listen(tb, n.serve)
}

func (n *Nonsense) serve(conn net.Conn) {
	defer conn.Close()
	s := &nonsenseSession{of: n, conn: conn, backend: pgproto3.NewBackend(conn, conn), prepared: map[string]string{}, portals: map[string]string{}, state: 'I'}
	_ = s.run() // the client has gone, or was sent away
}

// Wait waits until the clients that it was dialled by have gone, and returns the statements that
// held a made-up text as a part of their own.
func (n *Nonsense) Wait() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.running > 0 {
		n.ended.Wait()
	}
	return slices.Clone(n.wrong)
}

// next takes a byte of the script; an honest one when it has come to its end.
func (n *Nonsense) next() byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.script) == 0 {
		return 0
	}
	b := n.script[0]
	n.script = n.script[1:]
	return b
}

// quotedParts are what a made-up text may stand in: a name, a text, a text between dollars. A
// comment is passed over for its quotes.
var quotedParts = regexp.MustCompile(`(?s)--[^\n]*|"(?:[^"]|"")*"|E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\$\$.*?\$\$`)

// hear notes a statement, and whether it holds a made-up text outside of quotes.
func (n *Nonsense) hear(statement string) {
	bare := quotedParts.ReplaceAllStringFunc(statement, func(part string) string {
		if strings.HasPrefix(part, "--") {
			return part
		}
		return ""
	})
	if !strings.Contains(bare, Hostile) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wrong = append(n.wrong, statement)
}

// nonsenseSession is one connection.
type nonsenseSession struct {
	of                *Nonsense
	conn              net.Conn
	backend           *pgproto3.Backend
	prepared, portals map[string]string
	state             byte // as ReadyForQuery names it
	executions        int
	failed            bool // until the next Sync
	copied            string
}

// errGone ends a session.
var errGone = errors.New("the session is over")

func (s *nonsenseSession) run() error {
	message, err := s.backend.ReceiveStartupMessage()
	if err != nil {
		return err
	}
	if _, ok := message.(*pgproto3.StartupMessage); !ok {
		return errGone // a request to cancel
	}
	s.backend.Send(&pgproto3.AuthenticationOk{})
	for _, status := range [][2]string{{"server_version", "18.0"}, {"client_encoding", "UTF8"}, {"standard_conforming_strings", "on"}, {"server_encoding", "UTF8"}, {"TimeZone", "UTC"}, {"DateStyle", "ISO, MDY"}, {"integer_datetimes", "on"}} {
		s.backend.Send(&pgproto3.ParameterStatus{Name: status[0], Value: status[1]})
	}
	s.backend.Send(&pgproto3.BackendKeyData{ProcessID: process, SecretKey: []byte{0, 0, 0, 1}})
	s.ready()
	for {
		// Client and server may each wait for the other to speak; a client that only idles connects
		// again.
		const patience = 3 * time.Second
		if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		message, err := s.backend.Receive()
		if err != nil {
			return err
		}
		if err := s.answer(message); err != nil {
			return errors.Join(s.backend.Flush(), err)
		}
	}
}

// ready sends what was queued, as a server does at the end of a round.
func (s *nonsenseSession) ready() {
	s.backend.Send(&pgproto3.ReadyForQuery{TxStatus: s.state})
	_ = s.backend.Flush() // the next read says so too
}

// answer queues what the server says to one message.
func (s *nonsenseSession) answer(message pgproto3.FrontendMessage) error {
	if _, sync := message.(*pgproto3.Sync); s.failed && !sync {
		return nil
	}
	switch m := message.(type) {
	case *pgproto3.Parse:
		s.of.hear(m.Query)
		s.prepared[m.Name] = m.Query
		s.backend.Send(&pgproto3.ParseComplete{})
	case *pgproto3.Bind:
		s.portals[m.DestinationPortal] = s.prepared[m.PreparedStatement]
		s.backend.Send(&pgproto3.BindComplete{})
	case *pgproto3.Close:
		s.backend.Send(&pgproto3.CloseComplete{})
	case *pgproto3.Describe:
		return s.describe(m)
	case *pgproto3.Execute:
		return s.execute(s.portals[m.Portal])
	case *pgproto3.Query:
		s.of.hear(m.String)
		answer := s.of.recording[Statement(m.String)]
		if answer != nil && strings.HasPrefix(m.String, "COPY ") {
			s.copied = answer.Tag
			s.backend.Send(&pgproto3.CopyInResponse{OverallFormat: 1})
			return s.backend.Flush()
		}
		if answer != nil && len(answer.Fields) > 0 {
			s.backend.Send(description(answer.Fields, true))
		}
		err := s.execute(m.String)
		s.failed = false
		s.ready()
		return err
	case *pgproto3.CopyDone:
		s.backend.Send(&pgproto3.CommandComplete{CommandTag: []byte(s.copied)})
		s.ready()
	case *pgproto3.CopyFail:
		s.fail("57014", "the copy was given up")
		s.failed = false
		s.ready()
	case *pgproto3.Sync:
		s.failed = false
		s.ready()
	case *pgproto3.Terminate:
		return errGone
	}
	return nil
}

func (s *nonsenseSession) describe(m *pgproto3.Describe) error {
	statement := s.portals[m.Name]
	if m.ObjectType == 'S' {
		statement = s.prepared[m.Name]
	}
	answer := s.of.recording[Statement(statement)]
	if answer == nil {
		s.fail("42P01", "no such statement was recorded: "+statement)
		return nil
	}
	if m.ObjectType == 'S' {
		parameters := answer.Parameters
		if s.of.next() >= spoils {
			parameters = spoilParameters(parameters, s.of.next())
		}
		s.backend.Send(&pgproto3.ParameterDescription{ParameterOIDs: parameters})
	}
	if answer.Fields == nil {
		s.backend.Send(&pgproto3.NoData{})
		return nil
	}
	fields := answer.Fields
	if s.of.next() >= spoils {
		fields = spoilFields(fields, s.of.next(), s.of.next())
	}
	s.backend.Send(description(fields, m.ObjectType == 'P'))
	return nil
}

// spoils is the first byte that spoils something.
const spoils = 128

func description(fields []Field, formats bool) *pgproto3.RowDescription {
	d := &pgproto3.RowDescription{}
	for i, f := range fields {
		described := pgproto3.FieldDescription{Name: []byte(f.Name), TableAttributeNumber: uint16(i + 1), DataTypeOID: f.OID, DataTypeSize: f.Size, TypeModifier: -1}
		if formats {
			described.Format = f.Format
		}
		d.Fields = append(d.Fields, described)
	}
	return d
}

func (s *nonsenseSession) fail(code, message string) {
	s.failed = true
	if s.state == 'T' {
		s.state = 'E'
	}
	s.backend.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: code, Message: message})
}

// follow keeps the state of the transaction as a real server's.
func (s *nonsenseSession) follow(statement string) {
	word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(statement)), " ")
	switch word {
	case "begin":
		s.state = 'T'
	case "commit", "rollback":
		s.state = 'I'
	}
}

// execute answers an execution, honestly or not.
func (s *nonsenseSession) execute(statement string) error {
	s.executions++
	s.of.mu.Lock()
	s.of.said++
	over := s.of.said > allAnswers || s.executions > sessionAnswers
	s.of.mu.Unlock()
	if over {
		return errGone
	}
	s.follow(statement)
	answer := s.of.recording[Statement(statement)]
	if answer == nil {
		s.fail("42P01", "no such statement was recorded: "+statement)
		return nil
	}
	rows, tag := answer.Rows, answer.Tag
	if how := s.of.next(); how >= spoils {
		var err error
		if rows, tag, err = s.spoil(answer, how-spoils); err != nil || s.failed {
			return err
		}
	}
	for _, row := range rows {
		s.backend.Send(&pgproto3.DataRow{Values: row})
	}
	s.backend.Send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
	return nil
}

// spoil returns what is said instead of an answer.
func (s *nonsenseSession) spoil(answer *Answer, how byte) (rows [][][]byte, tag string, err error) {
	rows, tag = cloneRows(answer.Rows), answer.Tag
	if len(rows) == 0 && len(answer.Fields) > 0 {
		rows = [][][]byte{make([][]byte, len(answer.Fields))}
	}
	const (
		gone = iota
		refused
		silent
		raw
		unexpected
		tagged
		endless
		narrow
		wide
		values // and the rest
	)
	switch how % 24 {
	case gone:
		return nil, "", errGone
	case refused:
		s.fail(codes[int(s.of.next())%len(codes)], Hostile)
		return nil, "", nil
	case silent:
		return nil, tag, nil
	case raw:
		return nil, "", s.raw(s.of.next())
	case unexpected:
		s.unexpected(s.of.next())
	case tagged:
		tag = []string{"", "SELECT", "UPDATE -1", "INSERT 0 99999999999999999999", Hostile, "UPDATE 0", "UPDATE 1000"}[int(s.of.next())%7]
	case endless:
		for len(rows) > 0 && len(rows) < endlessRows {
			rows = append(rows, rows...)
		}
	case narrow:
		for i := range rows {
			rows[i] = rows[i][:max(0, len(rows[i])-1)]
		}
	case wide:
		for i := range rows {
			rows[i] = append(rows[i], []byte(Hostile))
		}
	default:
		s.spoilValue(answer, rows, how)
	}
	return rows, tag, nil
}

// spoilValue changes one value of one row, or of all.
func (s *nonsenseSession) spoilValue(answer *Answer, rows [][][]byte, how byte) {
	if len(rows) == 0 || len(answer.Fields) == 0 {
		return
	}
	column := int(s.of.next()) % len(answer.Fields)
	with := int(s.of.next())
	for _, row := range rows {
		if column < len(row) {
			row[column] = nonsenseFor(answer.Fields[column], row[column], int(how), with)
		}
		if how%2 == 0 {
			return // the first row alone
		}
	}
}

// raw writes bytes that are no message, or say too much of their length, and ends the session.
func (s *nonsenseSession) raw(which byte) error {
	if err := s.backend.Flush(); err != nil {
		return err
	}
	messages := [][]byte{
		{'D', 0x7f, 0xff, 0xff, 0xff, 0, 1},
		{'D', 0xff, 0xff, 0xff, 0xff},
		{'D', 0, 0, 0, 3},
		{'T', 0, 0, 0, 6, 0xff, 0xff},
		{'D', 0, 0, 0, 10, 0, 1, 0x7f, 0xff, 0xff, 0xff},
		{'D', 0, 0, 0, 10, 0, 1, 0xff, 0xff, 0xff, 0xfe},
		{'?', 0, 0, 0, 4},
		{'E', 0, 0, 0, 5, 'S'},
		{'D', 0, 0, 0, 10, 0x40, 0, 0, 0, 0, 0},
		{'C', 0, 0, 0, 5, 'x'},
		{'t', 0, 0, 0, 6, 0xff, 0xff},
		{'D', 0x3f, 0xff, 0xff, 0xff, 0, 1},
	}
	_, err := s.conn.Write(messages[int(which)%len(messages)])
	return errors.Join(err, errGone)
}

// unexpected says something that nothing asked for.
func (s *nonsenseSession) unexpected(which byte) {
	messages := []pgproto3.BackendMessage{
		&pgproto3.ReadyForQuery{TxStatus: 'I'}, &pgproto3.CopyInResponse{}, &pgproto3.CopyOutResponse{}, &pgproto3.NoData{}, &pgproto3.EmptyQueryResponse{},
		&pgproto3.ParameterStatus{Name: "client_encoding", Value: Hostile}, &pgproto3.NoticeResponse{Message: Hostile}, &pgproto3.PortalSuspended{},
		&pgproto3.NotificationResponse{Channel: Hostile}, &pgproto3.BindComplete{}, &pgproto3.RowDescription{}, &pgproto3.AuthenticationOk{},
	}
	s.backend.Send(messages[int(which)%len(messages)])
}
