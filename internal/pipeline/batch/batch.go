package batch

import (
	"slices"
	"strings"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Cut is the reason for which a batch ended; it labels a metric.
type Cut string

// The reasons. CutIdle means that the stage behind was free, which is the ordinary case.
const (
	CutIdle     Cut = "idle"
	CutRows     Cut = "rows"
	CutTokens   Cut = "tokens"
	CutBytes    Cut = "bytes"
	CutAge      Cut = "age"
	CutPosition Cut = "position"
)

// Limits bound a batch, which is cut sooner where the next stage is free: internal/pipeline's
// collector decides that. A batch is over a limit by at most one fragment.
type Limits struct {
	// Rows is the number of keys.
	Rows int
	// Tokens is the number of word pieces, estimated from the length of the texts.
	Tokens int
	// Bytes is the memory of the events.
	Bytes int
	// Age is how long a finished transaction waits for the end of an unfinished one behind it.
	Age time.Duration
}

// Batch is the content of one sink transaction, before encoding.
type Batch struct {
	// Changes holds the net change of each key, sorted by key. Those named by Unread have no
	// document yet.
	Changes []change.Change
	// Unread lists the indexes in Changes of rows whose text the log did not carry (unchanged
	// TOAST), or that was too large to be kept and is part of a row that is not: it is to be read
	// from the source by key, after the batch is visible there.
	Unread []int
	// Truncated, Watermark, PartialUntil and Last are as in change.Commit.
	Truncated    change.LSN
	Watermark    change.LSN
	PartialUntil change.LSN
	Last         change.Transaction
	// XIDs are the transactions of the batch, for the visibility gate.
	XIDs []uint32
	// Commits are the transactions' commit times by the source's clock, with their number of
	// events.
	Commits []CommitTime
	// Events counts the events by operation, before folding.
	Events map[change.Op]int
	Cut    Cut
}

// CommitTime is when a transaction was committed, and how many events of it are in a batch.
type CommitTime struct {
	At     time.Time
	Events int
}

// bytesPerToken is what English product texts take on average (4.6 measured on package
// descriptions); a low value errs towards smaller batches.
const bytesPerToken = 4

// unchangedTokens stand for a value that the log left out: it is longer than Postgres keeps in a
// row (2 kB), and what it will be read into has to fit too.
const unchangedTokens = 512

// perTextTokens are the two tokens that a BERT tokenizer adds around a text.
const perTextTokens = 2

// Batcher collects fragments until a batch is cut. Its methods are not safe for concurrent use.
type Batcher struct {
	template change.Template
	limits   Limits
	// handed is the highest watermark cut so far; an idle position at or below it is no news.
	handed change.LSN

	changes   []pending
	index     map[change.Key]int
	truncated change.LSN
	watermark change.LSN
	inside    change.LSN // version of the transaction whose end has not been seen; zero between transactions
	last      change.Transaction
	xids      []uint32
	commits   []CommitTime
	events    map[change.Op]int
	tokens    int
	bytes     int
	since     time.Time // when the first event since the last cut was added

	held held // stays over a cut
}

type pending struct {
	key     change.Key
	lsn     change.LSN
	deleted bool
	fields  []change.Field
}

// New returns an empty Batcher for a stream that begins at the watermark from.
func New(template change.Template, limits Limits, from change.LSN) *Batcher {
	b := &Batcher{template: template, limits: limits, handed: from}
	b.reset()
	return b
}

func (b *Batcher) reset() {
	b.changes, b.index = nil, make(map[change.Key]int)
	b.truncated, b.watermark, b.last = 0, 0, change.Transaction{}
	b.xids, b.commits, b.events = nil, nil, make(map[change.Op]int)
	b.tokens, b.bytes = 0, 0
	b.since = time.Time{}
}

// Add folds a fragment in; now is the time of its arrival. The Batcher keeps the fragment's fields.
func (b *Batcher) Add(f change.Fragment, now time.Time) {
	if f.LSN != 0 {
		b.last = f.Transaction()
	}
	if len(f.Events) > 0 {
		if b.since.IsZero() {
			b.since = now
		}
		b.addTransaction(f)
		for _, e := range f.Events {
			b.addEvent(e, f.LSN, f.End != 0)
		}
		b.bytes += f.Bytes
	}
	if f.End != 0 {
		b.release(f, now)
		if f.End > b.handed {
			b.watermark = max(b.watermark, f.End)
		}
		b.inside = 0
	} else if f.LSN != 0 {
		b.inside = f.LSN
	}
}

func (b *Batcher) addTransaction(f change.Fragment) {
	if n := len(b.xids); n > 0 && b.xids[n-1] == f.XID && b.inside == f.LSN {
		b.commits[n-1].Events += len(f.Events)
		return
	}
	b.xids = append(b.xids, f.XID)
	b.commits = append(b.commits, CommitTime{At: f.CommitTime, Events: len(f.Events)})
}

func (b *Batcher) addEvent(e change.Event, lsn change.LSN, last bool) {
	if e.Op != change.Await {
		b.events[e.Op]++
	}
	switch e.Op {
	case change.Await: // its transaction is one of the batch, which is all there is to it
	case change.Truncate:
		// What came before it in this batch is gone with the table; the keys need no tombstones,
		// since a chunk read before the truncation is dropped as a whole.
		b.changes, b.index = nil, make(map[change.Key]int)
		b.held.drop()
		b.truncated = lsn
	case change.Delete:
		if _, known := b.index[e.Key]; !known && !last && b.held.take(e.Key, b.limits.Bytes) {
			return
		}
		b.put(pending{key: e.Key, lsn: lsn, deleted: true})
	case change.Upsert:
		b.held.forget(e.Key)
		b.tokens += perTextTokens
		for _, f := range e.Fields {
			b.tokens += len(f.Text) / bytesPerToken
			if f.State == change.FieldUnchanged || f.State == change.FieldUnread {
				b.tokens += unchangedTokens
			}
		}
		b.put(pending{key: e.Key, lsn: lsn, fields: e.Fields})
	}
}

// release adds what was held of a transaction that has ended. Even where its last fragment has no
// event, the transaction is one of the batch.
func (b *Batcher) release(f change.Fragment, now time.Time) {
	if len(b.held.keys) == 0 {
		return
	}
	b.addTransaction(f)
	if b.since.IsZero() {
		b.since = now
	}
	for key := range b.held.keys {
		b.put(pending{key: key, lsn: f.LSN, deleted: true})
	}
	b.held.drop()
}

// put replaces the key's earlier change. A value that the log left out, since it did not change, is
// taken from an earlier change of the same batch.
func (b *Batcher) put(p pending) {
	i, known := b.index[p.key]
	if !known {
		b.index[p.key] = len(b.changes)
		b.changes = append(b.changes, p)
		return
	}
	for f := range p.fields {
		if p.fields[f].State == change.FieldUnchanged && !b.changes[i].deleted {
			p.fields[f] = b.changes[i].fields[f]
		}
	}
	b.changes[i] = p
}

// Empty reports whether there is neither a change nor a position to write.
func (b *Batcher) Empty() bool { return !b.HasEvents() && b.watermark == 0 }

// HasEvents reports whether there is more than a position to write.
func (b *Batcher) HasEvents() bool { return len(b.xids) > 0 }

// Inside reports whether the last transaction's end has not been seen yet.
func (b *Batcher) Inside() bool { return b.inside != 0 }

// Full reports whether a limit is reached, and which.
func (b *Batcher) Full() (Cut, bool) {
	switch {
	case len(b.changes) >= b.limits.Rows:
		return CutRows, true
	case b.tokens >= b.limits.Tokens:
		return CutTokens, true
	case b.bytes >= b.limits.Bytes:
		return CutBytes, true
	default:
		return "", false
	}
}

// Deadline is when the batch is to be cut although a transaction in it is unfinished; zero when
// there is nothing to cut.
func (b *Batcher) Deadline() time.Time {
	if b.since.IsZero() {
		return time.Time{}
	}
	return b.since.Add(b.limits.Age)
}

// Oldest returns the oldest commit time held; zero when there are no events.
func (b *Batcher) Oldest() time.Time {
	if len(b.commits) == 0 {
		return time.Time{}
	}
	return b.commits[0].At
}

// Cut returns what was collected and begins again. The end of a transaction that is cut in two
// arrives in a later batch; until then the watermark stays below it.
func (b *Batcher) Cut(reason Cut) *Batch {
	out := &Batch{
		Truncated: b.truncated, Watermark: b.watermark, PartialUntil: b.inside, Last: b.last,
		XIDs: b.xids, Commits: b.commits, Events: b.events, Cut: reason,
	}
	slices.SortFunc(b.changes, func(x, y pending) int { return strings.Compare(string(x.key), string(y.key)) })
	out.Changes = make([]change.Change, len(b.changes))
	for i, p := range b.changes {
		out.Changes[i] = change.Change{Key: p.key, LSN: p.lsn, Deleted: p.deleted}
		if p.deleted {
			continue
		}
		if !b.template.Settled(p.fields) {
			out.Unread = append(out.Unread, i)
			continue
		}
		out.Changes[i] = change.Render(b.template, out.Changes[i], p.fields)
	}
	if len(b.xids) == 0 {
		out.PartialUntil = 0 // nothing of the unfinished transaction is in this batch
	}
	b.handed = max(b.handed, b.watermark)
	b.reset()
	return out
}
