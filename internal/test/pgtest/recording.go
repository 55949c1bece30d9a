package pgtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Recording is what a server answered to statements, by Statement of their text.
type Recording map[string]*Answer

// Answer is what a server said of one statement and to its first execution that had rows.
type Answer struct {
	// Parameters are the object ids of the parameters' types.
	Parameters []uint32 `json:"parameters,omitempty"`
	// Fields is nil for a statement that returns nothing; their formats are those of Rows.
	Fields []Field    `json:"fields,omitempty"`
	Rows   [][][]byte `json:"rows,omitempty"`
	Tag    string     `json:"tag"`

	formats []int16 // of the rows, as they were asked for
}

// Field is a column of an answer.
type Field struct {
	Name   string `json:"name"`
	OID    uint32 `json:"oid"`
	Size   int16  `json:"size"`
	Format int16  `json:"format"`
}

// variable is what two runs of a statement may differ in: names, texts and numbers.
var variable = regexp.MustCompile(`"(?:[^"]|"")*"|'(?:[^']|'')*'|[0-9]+`)

// Statement is the text of a statement without what may differ between two of its runs.
func Statement(text string) string { return variable.ReplaceAllString(text, "?") }

// ReadRecording reads what Recorder.Write wrote.
func ReadRecording(tb testing.TB, path string) Recording {
	tb.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	var r Recording
	if err := json.Unmarshal(content, &r); err != nil {
		tb.Fatal(err)
	}
	return r
}

// Recorder notes what goes over the connections that it dials.
type Recorder struct {
	mu    sync.Mutex
	conns []*recorded
}

type recorded struct {
	net.Conn
	mu         sync.Mutex
	said, read bytes.Buffer // by the client, by the server
}

// Dial is a pgconn.DialFunc.
func (r *Recorder) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	noted := &recorded{Conn: conn}
	r.conns = append(r.conns, noted)
	return noted, nil
}

func (c *recorded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.Write(p[:n])
	return n, err
}

func (c *recorded) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said.Write(p[:n])
	return n, err
}

// Write writes what was recorded; the connections have to be closed.
func (r *Recorder) Write(tb testing.TB, path string) {
	tb.Helper()
	recording := Recording{}
	for _, c := range r.conns {
		recording.add(c.said.Bytes(), c.read.Bytes())
	}
	for _, answer := range recording {
		answer.format()
	}
	content, err := json.MarshalIndent(recording, "", "\t")
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, append(content, '\n'), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// asked is a client's message that the server answers: 'D' describes, 'E' executes, 'Q' is a simple
// query, 'S' a Sync.
type asked struct {
	kind   byte
	answer *Answer
}

// add decodes one connection.
func (r Recording) add(said, read []byte) {
	queue := r.questions(said)
	started := false
	kept := map[*Answer]int{} // how long the queue was when the rows of an answer came
	frames(read, func(kind byte, body []byte) {
		if !started {
			started = kind == 'Z'
			return
		}
		if len(queue) == 0 {
			return
		}
		head := queue[0]
		switch kind {
		case 't':
			var m pgproto3.ParameterDescription
			if m.Decode(body) == nil {
				head.answer.Parameters = append([]uint32(nil), m.ParameterOIDs...)
			}
		case 'T':
			head.answer.describe(body)
		case 'D':
			if first, known := kept[head.answer]; !known && len(head.answer.Rows) == 0 || known && first == len(queue) {
				kept[head.answer] = len(queue)
				head.answer.row(body)
			}
		case 'C':
			var m pgproto3.CommandComplete
			if m.Decode(body) == nil {
				head.answer.Tag = string(m.CommandTag)
			}
		}
		queue = queue[answered(queue, kind):]
	})
}

// answered returns how many questions a server's message closes.
func answered(queue []asked, kind byte) int {
	head := queue[0].kind
	switch {
	case (kind == 'T' || kind == 'n') && head == 'D', (kind == 'C' || kind == 'I') && head == 'E', kind == 'Z':
		return 1
	case kind == 'E': // the rest up to the Sync has no answer
		n := 0
		for n < len(queue) && queue[n].kind != 'S' && queue[n].kind != 'Q' {
			n++
		}
		return n
	default:
		return 0
	}
}

// format gives the fields the formats of the rows: none asked for is text, one is of all.
func (a *Answer) format() {
	for i := range a.Fields {
		switch len(a.formats) {
		case 0:
		case 1:
			a.Fields[i].Format = a.formats[0]
		default:
			a.Fields[i].Format = a.formats[min(i, len(a.formats)-1)]
		}
		if a.Fields[i].Name == "pg_backend_pid" {
			a.renumber(i)
		}
	}
}

// renumber gives the rows the server process of a server of nonsense in a column.
func (a *Answer) renumber(column int) {
	number := []byte(strconv.Itoa(process))
	if a.Fields[column].Format == pgproto3.BinaryFormat {
		number = binary.BigEndian.AppendUint32(nil, process)
	}
	for _, row := range a.Rows {
		if column < len(row) {
			row[column] = number
		}
	}
}

// describe takes the description that was asked for last, which is the portal's: with the formats
// of the rows.
func (a *Answer) describe(body []byte) {
	var m pgproto3.RowDescription
	if m.Decode(body) != nil || len(a.Rows) > 0 {
		return
	}
	a.Fields = nil
	for _, f := range m.Fields {
		a.Fields = append(a.Fields, Field{Name: string(f.Name), OID: f.DataTypeOID, Size: f.DataTypeSize, Format: f.Format})
	}
}

func (a *Answer) row(body []byte) {
	var m pgproto3.DataRow
	if m.Decode(body) != nil || len(a.Rows) == mostRecorded {
		return
	}
	row := make([][]byte, len(m.Values))
	for i, value := range m.Values {
		if value != nil {
			row[i] = append([]byte{}, value...)
		}
	}
	a.Rows = append(a.Rows, row)
}

// process is the number of each server process in a recording, and of a server of nonsense.
const process = 1

// mostRecorded is how many rows of an answer are worth keeping.
const mostRecorded = 40

// questions lists what a client asked, in order, and makes the answers that they have.
func (r Recording) questions(said []byte) []asked {
	var queue []asked
	prepared, portals := map[string]*Answer{}, map[string]*Answer{}
	of := func(text string) *Answer {
		key := Statement(text)
		if r[key] == nil {
			r[key] = &Answer{}
		}
		return r[key]
	}
	if len(said) >= 4 { // the startup message has no kind
		said = said[min(len(said), int(binary.BigEndian.Uint32(said))):]
	}
	frames(said, func(kind byte, body []byte) {
		switch kind {
		case 'P':
			var m pgproto3.Parse
			if m.Decode(body) == nil {
				prepared[m.Name] = of(m.Query)
			}
		case 'B':
			var m pgproto3.Bind
			if m.Decode(body) == nil {
				portals[m.DestinationPortal] = prepared[m.PreparedStatement]
				if answer := prepared[m.PreparedStatement]; answer != nil && answer.formats == nil {
					answer.formats = append([]int16{}, m.ResultFormatCodes...)
				}
			}
		case 'D':
			var m pgproto3.Describe
			if m.Decode(body) == nil && m.ObjectType == 'P' {
				queue = append(queue, asked{'D', portals[m.Name]})
			} else {
				queue = append(queue, asked{'D', prepared[m.Name]})
			}
		case 'E':
			var m pgproto3.Execute
			if m.Decode(body) == nil {
				queue = append(queue, asked{'E', portals[m.Portal]})
			}
		case 'Q':
			var m pgproto3.Query
			if m.Decode(body) == nil {
				queue = append(queue, asked{'Q', of(m.String)})
			}
		case 'S':
			queue = append(queue, asked{kind: 'S'})
		}
	})
	return queue
}

// frames calls f for each message.
func frames(stream []byte, f func(kind byte, body []byte)) {
	const header = 5
	for len(stream) >= header {
		length := 1 + int(binary.BigEndian.Uint32(stream[1:]))
		if length > len(stream) {
			return
		}
		f(stream[0], stream[header:length])
		stream = stream[length:]
	}
}

// Proxy notes what clients of a port of this machine, which it returns, and the server at an
// address say.
func (r *Recorder) Proxy(tb testing.TB, server string) (address string) {
	tb.Helper()
	return listen(tb, func(client net.Conn) {
		defer client.Close()
		conn, err := r.Dial(tb.Context(), "tcp", server)
		if err != nil {
			return
		}
		defer conn.Close()
		var both sync.WaitGroup
		both.Go(func() {
			_, _ = io.Copy(conn, client)
			_ = conn.Close()
		})
		both.Go(func() {
			_, _ = io.Copy(client, conn)
			_ = client.Close()
		})
		both.Wait()
	})
}

// listen serves each connection to a port of this machine until the test ends.
func listen(tb testing.TB, serve func(net.Conn)) (address string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(conn) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}
