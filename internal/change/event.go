package change

import "time"

// Op is what an event does to its key.
type Op uint8

// The operations. A soft delete arrives as Delete; a changed key arrives as a Delete of the old and
// an Upsert of the new one.
const (
	Upsert Op = iota + 1
	Delete
	Truncate // every key of the table; Key is empty
	// Await changes nothing: the transaction only has to be visible to new snapshots before the
	// watermark passes it, because it changed the table that takes this one's place. Key is empty.
	Await
)

// String names the operation as metrics and logs do.
func (o Op) String() string {
	switch o {
	case Upsert:
		return "upsert"
	case Delete:
		return "delete"
	case Truncate:
		return "truncate"
	case Await:
		return "await"
	default:
		return "unknown"
	}
}

// Event is one row change of a transaction.
type Event struct {
	Op  Op
	Key Key
	// Fields holds, for an Upsert, one value for each of Template.Columns(); some may be
	// FieldUnchanged or FieldUnread.
	Fields []Field
}

// Fragment is a consecutive piece of one transaction, in commit order, or an idle position of the
// log. A position may name the transaction without events that came before it.
type Fragment struct {
	// XID is the top-level transaction id; zero for an idle position.
	XID uint32
	// LSN is the position of the commit record plus one: the version of every event here. Zero for
	// an idle position.
	LSN LSN
	// CommitTime is the source's clock at commit. Zero for an idle position.
	CommitTime time.Time
	Events     []Event
	// End is the end LSN of the transaction when this is its last fragment, or the idle position.
	// Zero inside a transaction.
	End LSN
	// Bytes is about the memory that the events hold.
	Bytes int
}

// Transaction names the transaction that the fragment is a piece of.
func (f *Fragment) Transaction() Transaction {
	return Transaction{LSN: f.LSN, XID: f.XID, CommitTime: f.CommitTime}
}

// Transaction names a transaction of the source's log. The zero Transaction is none that is known.
type Transaction struct {
	// LSN is as in Fragment. With an XID of zero it is a position: no transaction has come since.
	LSN LSN
	// XID is the top-level transaction id.
	XID uint32
	// CommitTime is the source's clock at commit, in whole microseconds.
	CommitTime time.Time
}

// Is reports whether both are the same transaction of one history: the same position, number and
// time.
func (t Transaction) Is(u Transaction) bool {
	return t.LSN == u.LSN && t.XID == u.XID && t.CommitTime.Equal(u.CommitTime)
}

// Place is where a stream goes on.
type Place struct {
	Epoch     Epoch
	Watermark LSN
	// Last is the last transaction of the log of which the sink has anything, from which the log is
	// known again; it may be one behind the watermark, of which a part was written.
	Last Transaction
}

// Change is the net effect of a batch on one key.
type Change struct {
	Key Key
	LSN LSN
	// Deleted is true when the row is gone, soft-deleted or without text by every template;
	// Document is then empty.
	Deleted  bool
	Document Document
	// Further holds the texts by the pipeline's further templates, in their order; nil where there
	// is one template. A document without a text is one that the row has not.
	Further []Document
}

// Text returns the row's text by the template of a number; 0 is the first.
func (c *Change) Text(template int) Document {
	if template == 0 {
		return c.Document
	}
	return c.Further[template-1]
}

// Texts returns the texts by all templates.
func (c *Change) Texts() []Document {
	if len(c.Further) == 0 {
		return []Document{c.Document}
	}
	return append([]Document{c.Document}, c.Further...)
}

// Commit is what one sink transaction of the stream writes.
type Commit struct {
	// Changes holds one change a key, sorted by key.
	Changes []Change
	// Truncated is the version's LSN of the last TRUNCATE in the batch; it comes before every
	// change. Zero when there is none.
	Truncated LSN
	// Watermark is the new watermark; zero leaves it where it is (part of a transaction too large
	// for one commit).
	Watermark LSN
	// PartialUntil is the position up to which this commit may show more than its watermark says:
	// the LSN of the large transaction that it is a part of, without its last part, or the end of
	// the log when rows were read by key. Zero when it shows no more.
	PartialUntil LSN
	// Last is the last transaction that the log brought, whatever was in it; the zero Transaction
	// where it brought none.
	Last Transaction
	// Encodings holds what became of the texts that were encoded. The sink does not keep or change
	// it.
	Encodings Encodings
}

// Encoded is what became of texts in one generation, by the hash of the text.
type Encoded struct {
	Vectors map[Hash][]float32
	// Failed says of a text that cannot be encoded why: one line that holds nothing of the text.
	Failed map[Hash]string
}

// Has reports whether it is known what became of a text.
func (e Encoded) Has(h Hash) bool {
	_, encoded := e.Vectors[h]
	_, failed := e.Failed[h]
	return encoded || failed
}

// Encodings is what became of texts, by the number of the generation.
type Encodings map[int]Encoded

// Of returns what became of texts in one generation, to be added to.
func (e Encodings) Of(generation int) Encoded {
	encoded, found := e[generation]
	if !found {
		encoded = Encoded{Vectors: make(map[Hash][]float32), Failed: make(map[Hash]string)}
		e[generation] = encoded
	}
	return encoded
}

// Len counts the vectors and the failures of all generations.
func (e Encodings) Len() (vectors, failed int) {
	for _, encoded := range e {
		vectors += len(encoded.Vectors)
		failed += len(encoded.Failed)
	}
	return vectors, failed
}

// Why returns a generation's reason why a text cannot be encoded, the first generation's where
// several fail.
func (e Encodings) Why(h Hash) (reason string, failed bool) {
	first := 0
	for generation, encoded := range e {
		if why, found := encoded.Failed[h]; found && (first == 0 || generation < first) {
			first, reason = generation, why
		}
	}
	return reason, first != 0
}

// Lack names changes of whose texts a generation has no vector.
type Lack struct {
	Generation int
	// Template is the number of its template; see Change.Text.
	Template int
	// At holds their indexes, rising; it is not empty.
	At []int
}
