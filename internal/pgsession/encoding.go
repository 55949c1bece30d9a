package pgsession

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// Encoding is how a server keeps its texts, by PostgreSQL's name: "UTF8", "SQL_ASCII".
type Encoding string

// The encodings that decide something. A database with None keeps bytes, and does not know what
// they mean.
const (
	UTF8 Encoding = "UTF8"
	None Encoding = "SQL_ASCII"
)

// EncodingOf returns the encoding of a session's database.
func EncodingOf(conn *pgx.Conn) Encoding {
	return Encoding(conn.PgConn().ParameterStatus("server_encoding"))
}

// whole are the encodings of which every text has a form in UTF-8, as PostgreSQL 16 and 18 convert
// them.
var whole = []Encoding{
	UTF8, "LATIN1", "LATIN2", "LATIN4", "LATIN5", "LATIN6", "LATIN7", "LATIN8", "LATIN9", "LATIN10", "WIN1256", "WIN866", "KOI8R", "KOI8U", "ISO_8859_5",
}

// Whole reports whether every text of the encoding has a form in UTF-8.
func (e Encoding) Whole() bool { return slices.Contains(whole, e) }

// CheckKeys returns a fault of kind Usage where a text that is a key in a source may not be one in
// a sink: it would stop all others, since no letter could name it.
func CheckKeys(source, sink Encoding) error {
	const try = "use a key of numbers or a uuid, or a sink database with ENCODING 'UTF8'"
	switch {
	case source == sink || sink == None:
		return nil
	case source == None:
		return fault.New(fault.Usage, "use a key of numbers or a uuid, or a source database with ENCODING 'UTF8'",
			"the source database has the encoding %s: a text key may hold bytes that the sink (%s) does not take", source, sink)
	case sink != UTF8:
		return fault.New(fault.Usage, try, "the sink database has the encoding %s, the source %s: the sink does not take every text key", sink, source)
	default:
		return nil
	}
}
