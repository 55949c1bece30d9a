package batch_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
)

var (
	wide  = batch.Limits{Rows: 1000, Tokens: 1 << 20, Bytes: 1 << 20, Age: time.Second}
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func parse(t interface{ Fatal(...any) }, source string) change.Template {
	template, err := change.ParseTemplate(source)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func value(s string) change.Field { return change.Field{Text: s, State: change.FieldValue} }

func upsert(key string, fields ...change.Field) change.Event {
	return change.Event{Op: change.Upsert, Key: change.KeyOf(key), Fields: fields}
}

func remove(key string) change.Event { return change.Event{Op: change.Delete, Key: change.KeyOf(key)} }

func transaction(xid uint32, lsn change.LSN, events ...change.Event) change.Fragment {
	return change.Fragment{XID: xid, LSN: lsn, CommitTime: start.Add(time.Duration(xid) * time.Second), Events: events, End: lsn + 10, Bytes: 100 * len(events)}
}

func TestLastChangeOfAKeyWins(t *testing.T) {
	b := batch.New(parse(t, "{a}"), wide, 0)
	b.Add(transaction(1, 100, upsert("2", value("old")), upsert("1", value("one"))), start)
	b.Add(transaction(2, 200, upsert("2", value("new")), remove("3")), start)
	got := b.Cut(batch.CutIdle)
	if len(got.Changes) != 3 || got.Watermark != 210 || !slices.Equal(got.XIDs, []uint32{1, 2}) || got.PartialUntil != 0 {
		t.Fatalf("got %+v", got)
	}
	if c := got.Changes[1]; c.Key != change.KeyOf("2") || c.Document.Text != "new" || c.LSN != 200 {
		t.Fatalf("key 2: %+v", c)
	}
	if !got.Changes[2].Deleted || got.Events[change.Upsert] != 3 || got.Events[change.Delete] != 1 || !got.Commits[0].At.Equal(start.Add(time.Second)) {
		t.Fatalf("got %+v", got)
	}
	if !b.Empty() {
		t.Fatal("the batcher is not empty after a cut")
	}
}

func TestARowWithoutTextIsADelete(t *testing.T) {
	b := batch.New(parse(t, "{a}. {b}"), wide, 0)
	b.Add(transaction(1, 100, upsert("1", change.Field{}, value("  "))), start)
	if got := b.Cut(batch.CutIdle); !got.Changes[0].Deleted || got.Changes[0].Document != (change.Document{}) {
		t.Fatalf("got %+v", got.Changes)
	}
}

// TestFurtherTemplatesRenderTextsOfTheirOwn: a row is a delete only when it has no text by any of
// them.
func TestFurtherTemplatesRenderTextsOfTheirOwn(t *testing.T) {
	joined := change.Join(parse(t, "{a}. {b}"), parse(t, "{c}"), parse(t, "{b}"))
	if got := joined.Columns(); !slices.Equal(got, []string{"a", "b", "c", "b"}) || joined.String() != "{a}. {b}" || len(joined.All()) != 3 {
		t.Errorf("columns %v of %q", got, joined.All())
	}
	if other := change.Join(parse(t, "{a}. {b}"), parse(t, "{b}"), parse(t, "{c}")); joined.Same(other) || !joined.Same(joined) || joined.Same(parse(t, "{a}. {b}")) {
		t.Errorf("the same as in another order: %t, as itself: %t, as its first: %t", joined.Same(other), joined.Same(joined), joined.Same(parse(t, "{a}. {b}")))
	}
	b := batch.New(joined, wide, 0)
	null, unchanged := change.Field{}, change.Field{State: change.FieldUnchanged}
	b.Add(transaction(1, 100, upsert("1", value("a"), value("b"), value("c"), value("b")), upsert("2", null, null, value("c"), null),
		upsert("3", null, null, null, null), upsert("4", value("a"), value("b"), unchanged, value("b"))), start)
	got := b.Cut(batch.CutIdle)
	texts := func(i int) []string {
		var out []string
		for _, d := range got.Changes[i].Texts() {
			if d.Text != "" && d.Hash != change.HashText(d.Text) || d.Text == "" && d != (change.Document{}) {
				t.Errorf("a document: %+v", d)
			}
			out = append(out, d.Text)
		}
		return out
	}
	if one, two := texts(0), texts(1); !slices.Equal(one, []string{"a. b", "c", "b"}) || !slices.Equal(two, []string{"", "c", ""}) || got.Changes[1].Deleted {
		t.Errorf("texts %q and %q", one, two)
	}
	if !got.Changes[2].Deleted || !slices.Equal(got.Unread, []int{3}) {
		t.Errorf("deleted %v, unread %v", got.Changes[2].Deleted, got.Unread)
	}
}

func TestUnchangedValuesComeFromTheBatchOrAreUnread(t *testing.T) {
	unchanged := change.Field{State: change.FieldUnchanged}
	b := batch.New(parse(t, "{a}. {b}"), wide, 0)
	b.Add(transaction(1, 100, upsert("1", value("a"), value("b")), upsert("2", value("a"), unchanged), remove("3")), start)
	b.Add(transaction(2, 200, upsert("1", value("A"), unchanged), upsert("2", value("A"), unchanged), upsert("3", value("A"), unchanged)), start)
	got := b.Cut(batch.CutIdle)
	if got.Changes[0].Document.Text != "A. b" {
		t.Errorf("key 1: %+v", got.Changes[0])
	}
	if !slices.Equal(got.Unread, []int{1, 2}) {
		t.Errorf("unread %v, want keys 2 and 3", got.Unread)
	}
}

func TestTruncateDropsWhatCameBefore(t *testing.T) {
	b := batch.New(parse(t, "{a}"), wide, 0)
	b.Add(transaction(1, 100, upsert("1", value("x"))), start)
	b.Add(transaction(2, 200, upsert("2", value("x")), change.Event{Op: change.Truncate}, upsert("3", value("y"))), start)
	got := b.Cut(batch.CutIdle)
	if got.Truncated != 200 || len(got.Changes) != 1 || got.Changes[0].Key != change.KeyOf("3") {
		t.Fatalf("got %+v", got)
	}
}

func TestAnUnfinishedTransactionHoldsTheWatermark(t *testing.T) {
	b := batch.New(parse(t, "{a}"), wide, 0)
	b.Add(transaction(1, 100, upsert("1", value("x"))), start)
	part := transaction(2, 200, upsert("2", value("x")))
	part.End = 0
	b.Add(part, start)
	if !b.Inside() || !b.Deadline().Equal(start.Add(wide.Age)) {
		t.Fatalf("inside %v, deadline %s", b.Inside(), b.Deadline())
	}
	first := b.Cut(batch.CutAge)
	if first.Watermark != 110 || first.PartialUntil != 200 {
		t.Fatalf("first: %+v", first)
	}
	b.Add(part, start)
	if second := b.Cut(batch.CutRows); second.Watermark != 0 || second.PartialUntil != 200 || !slices.Equal(second.XIDs, []uint32{2}) {
		t.Fatalf("second: %+v", second)
	}
	b.Add(transaction(2, 200, upsert("3", value("x"))), start)
	if last := b.Cut(batch.CutIdle); last.Watermark != 210 || last.PartialUntil != 0 {
		t.Fatalf("last: %+v", last)
	}
}

// TestDeletesWaitForTheEndOfTheirTransaction: a row that is deleted and inserted again by a
// transaction of several batches never loses its vector.
func TestDeletesWaitForTheEndOfTheirTransaction(t *testing.T) {
	limits := wide
	limits.Bytes = 150 // of three held deletes
	b := batch.New(parse(t, "{a}"), limits, 0)
	part := func(events ...change.Event) *batch.Batch {
		f := transaction(1, 100, events...)
		f.End = 0
		b.Add(f, start)
		return b.Cut(batch.CutAge)
	}
	deletes := func(got *batch.Batch) (keys []string) {
		for _, c := range got.Changes {
			if c.Deleted {
				keys = append(keys, string(c.Key))
			}
		}
		return keys
	}
	if got := part(remove("1"), remove("2"), remove("3"), remove("1")); len(got.Changes) != 0 || got.PartialUntil != 100 || !slices.Equal(got.XIDs, []uint32{1}) {
		t.Errorf("deletes inside a transaction: %+v", got)
	}
	if got := part(remove("4")); !slices.Equal(deletes(got), []string{"4"}) {
		t.Errorf("a delete that there is no room to hold: %+v", got)
	}
	if got := part(upsert("2", value("x")), upsert("5", value("x")), remove("5")); !slices.Equal(deletes(got), []string{"5"}) || len(got.Changes) != 2 {
		t.Errorf("inserts, one of a held key, and a delete of what the batch inserts: %+v", got)
	}
	b.Add(transaction(1, 100), start)
	if got := b.Cut(batch.CutIdle); !slices.Equal(deletes(got), []string{"1", "3"}) || got.Watermark != 110 || !slices.Equal(got.XIDs, []uint32{1}) {
		t.Errorf("the end: %+v", got)
	}
	b.Add(transaction(2, 200, upsert("6", value("x"))), start)
	if got := b.Cut(batch.CutIdle); len(got.Changes) != 1 {
		t.Errorf("the next transaction: %+v", got)
	}
}

func TestAnIdlePositionIsNewsOnlyWhenItIsHigher(t *testing.T) {
	b := batch.New(parse(t, "{a}"), wide, 500)
	b.Add(change.Fragment{End: 500}, start)
	if !b.Empty() {
		t.Fatal("the start position is no news")
	}
	b.Add(change.Fragment{End: 600}, start)
	if got := b.Cut(batch.CutPosition); got.Watermark != 600 || len(got.XIDs) != 0 {
		t.Fatalf("got %+v", got)
	}
	b.Add(change.Fragment{End: 600}, start)
	if !b.Empty() {
		t.Fatal("the position just cut is no news")
	}
}

func TestLimits(t *testing.T) {
	f := func(limits batch.Limits, want batch.Cut) {
		t.Helper()
		b := batch.New(parse(t, "{a}"), limits, 0)
		if _, full := b.Full(); full {
			t.Errorf("%s: full at the start", want)
		}
		b.Add(transaction(1, 100, upsert("1", value("some words here")), upsert("2", value("more words there"))), start)
		if got, full := b.Full(); !full || got != want {
			t.Errorf("full by %q (%v), want %q", got, full, want)
		}
	}
	f(batch.Limits{Rows: 2, Tokens: 1000, Bytes: 1000}, batch.CutRows)
	f(batch.Limits{Rows: 10, Tokens: 8, Bytes: 1000}, batch.CutTokens)
	f(batch.Limits{Rows: 10, Tokens: 1000, Bytes: 200}, batch.CutBytes)
}

// TestFoldingEqualsReplay compares the batches of random transactions, cut at random places, with
// replaying every event.
func TestFoldingEqualsReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := batch.New(parse(t, "{a}"), wide, 0)
		want, got := map[change.Key]string{}, map[change.Key]string{}
		for x := range rapid.IntRange(1, 20).Draw(t, "transactions") {
			var events []change.Event
			for range rapid.IntRange(0, 4).Draw(t, "events") {
				key := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "key"))
				switch rapid.IntRange(0, 9).Draw(t, "op") {
				case 0:
					events = append(events, change.Event{Op: change.Truncate})
					clear(want)
				case 1, 2:
					events = append(events, remove(key))
					delete(want, change.KeyOf(key))
				default:
					text := rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "text")
					events = append(events, upsert(key, value(text)))
					if want[change.KeyOf(key)] = text; text == "" {
						delete(want, change.KeyOf(key))
					}
				}
			}
			for len(events) > 0 && rapid.Bool().Draw(t, "in parts") {
				n := rapid.IntRange(1, len(events)).Draw(t, "part")
				part := transaction(uint32(x+1), change.LSN(x+1)*100, events[:n]...)
				part.End, events = 0, events[n:]
				b.Add(part, start)
				if rapid.Bool().Draw(t, "cut inside") {
					apply(got, b.Cut(batch.CutIdle))
				}
			}
			b.Add(transaction(uint32(x+1), change.LSN(x+1)*100, events...), start)
			if rapid.Bool().Draw(t, "cut") {
				apply(got, b.Cut(batch.CutIdle))
			}
		}
		apply(got, b.Cut(batch.CutIdle))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("folded %v, replayed %v", got, want)
		}
	})
}

func apply(rows map[change.Key]string, b *batch.Batch) {
	if b.Truncated != 0 {
		clear(rows)
	}
	for _, c := range b.Changes {
		if c.Deleted {
			delete(rows, c.Key)
		} else {
			rows[c.Key] = c.Document.Text
		}
	}
}

func BenchmarkFold(b *testing.B) {
	template := parse(b, "{name}. {brand}. {category}. {description}")
	fields := []change.Field{value("Trail boots"), value("Northfell"), value("Footwear"), value("Waterproof boots with a grippy sole for long days on rough ground.")}
	keys := make([]change.Key, 5000)
	for i := range keys {
		keys[i] = change.KeyOf(fmt.Sprint(i))
	}
	batcher := batch.New(template, batch.Limits{Rows: 1 << 30, Tokens: 1 << 30, Bytes: 1 << 30}, 0)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		lsn := change.LSN(n+1) * 16
		batcher.Add(change.Fragment{
			XID: uint32(n), LSN: lsn, End: lsn + 8, CommitTime: start,
			Events: []change.Event{{Op: change.Upsert, Key: keys[n%len(keys)], Fields: fields}},
		}, start)
		n++
		if n%len(keys) == 0 {
			batcher.Cut(batch.CutRows)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// TestATransactionThatIsOnlyWaitedFor: it has to pass the gate, and changes nothing.
func TestATransactionThatIsOnlyWaitedFor(t *testing.T) {
	t.Parallel()
	b := batch.New(parse(t, "{a}"), wide, 0)
	b.Add(transaction(7, 200, change.Event{Op: change.Await}), start)
	if !b.HasEvents() {
		t.Fatal("the batch is taken for a position")
	}
	got := b.Cut(batch.CutIdle)
	if !slices.Equal(got.XIDs, []uint32{7}) || len(got.Changes) != 0 || len(got.Events) != 0 || got.Watermark != 210 {
		t.Errorf("got %+v", got)
	}
}

// R16: the last transaction of which anything was written is known, whether or not it has ended,
// and whatever was in it.
func TestTheLastTransactionIsNoted(t *testing.T) {
	b := batch.New(parse(t, "{a}"), wide, 0)
	check := func(xid uint32) {
		t.Helper()
		if got := b.Cut(batch.CutIdle); got.Last.XID != xid || xid != 0 && !got.Last.CommitTime.Equal(start.Add(time.Duration(xid)*time.Second)) {
			t.Errorf("got %+v, want transaction %d", got.Last, xid)
		}
	}
	b.Add(transaction(1, 100, upsert("1", value("one"))), start)
	b.Add(transaction(2, 200), start)
	check(2)
	b.Add(change.Fragment{End: 300}, start)
	check(0)
	part := transaction(3, 400, upsert("1", value("part")))
	part.End = 0
	b.Add(part, start)
	check(3)
}
