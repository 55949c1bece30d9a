package chaos

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
)

// alphabet has a text for every letter; the vector of a text is made of its hash.
type alphabet struct{ dead string }

func (a alphabet) Digest(text change.Hash) Digest { return Digest(slices.Concat(text[:], text[:])) }
func (a alphabet) Dead(text change.Hash) bool     { return text == change.HashText(a.dead) }

func letter(text string) State { return State{Live: true, Hash: change.HashText(text)} }

func set(key int64, text string) Audit { return Audit{Old: &key, New: &key, State: letter(text)} }

func gone(key int64) Audit { return Audit{Old: &key} }

func moved(from, to int64, text string) Audit {
	return Audit{Old: &from, New: &to, State: letter(text)}
}

// row is a row of the sink with its vector, in epoch 1.
func row(text string) Row {
	s := letter(text)
	return Row{Known: true, Epoch: 1, State: s, Has: true, Vector: s.Hash, Digest: alphabet{}.Digest(s.Hash)}
}

func tombstone() Row { return Row{Known: true, Epoch: 1} }

func TestHistoryKnowsTheStateAtAWatermark(t *testing.T) {
	t.Parallel()
	var h History
	h.Add(100, []Audit{set(1, "a"), set(2, "b"), set(1, "c")})
	h.Add(200, []Audit{moved(1, 3, "c"), gone(2), set(2, "d")})
	h.Add(250, nil)
	h.Add(300, []Audit{{Truncate: true}, set(2, "e")})
	f := func(w change.LSN, want map[int64]string) {
		t.Helper()
		for key := range int64(4) {
			expected := State{}
			if text, live := want[key]; live {
				expected = letter(text)
			}
			if got := h.At(key, w); got != expected {
				t.Errorf("key %d at %s is %s, want %s", key, w, got, expected)
			}
		}
	}
	f(100, nil)
	f(101, map[int64]string{1: "c", 2: "b"})
	f(200, map[int64]string{1: "c", 2: "b"})
	f(201, map[int64]string{2: "d", 3: "c"})
	f(900, map[int64]string{2: "e"})
	if h.Transactions != 3 || h.Changes != 8 {
		t.Errorf("%d transactions, %d changes", h.Transactions, h.Changes)
	}
}

func TestJudgeFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	var h History
	h.Add(50, []Audit{set(9, "old")})
	h.Add(100, []Audit{set(1, "a"), set(2, "b")})
	h.Add(200, []Audit{set(1, "c")})
	h.Add(300, []Audit{set(1, "part"), set(1, "d"), set(2, "e")})
	h.Add(400, []Audit{gone(1), set(2, "f"), set(9, "new")})
	good := func() Look {
		return Look{Epoch: 1, Watermark: 201, Start: 80, Swept: true, Rows: map[int64]Row{1: row("c"), 2: row("b"), 9: row("old")}}
	}
	f := func(name, want string, change func(*Look)) {
		t.Helper()
		l := good()
		change(&l)
		got := strings.Join(Judge(&h, l, alphabet{dead: "x"}), "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it", name, got, want)
		}
	}
	put := func(key int64, r Row) func(*Look) { return func(l *Look) { l.Rows[key] = r } }

	f("all is well", "", func(*Look) {})
	f("an older text", "key 1", put(1, row("a")))
	f("a newer text", "key 1", put(1, row("d")))
	f("a deleted key", "key 1", put(1, tombstone()))
	f("a missing key", "key 1", func(l *Look) { delete(l.Rows, 1) })
	f("a key of nobody", "key 7", put(7, row("a")))
	f("a tombstone of nobody", "", put(7, tombstone()))
	other := row("c")
	other.Vector, other.Digest = row("a").Vector, row("a").Digest
	f("a vector of another text", "there is a vector", put(1, other))
	f("a wrong vector", "is not its text's", put(1, Row{Known: true, Epoch: 1, State: letter("c"), Has: true, Vector: letter("c").Hash}))
	f("no vector", "there is no vector", put(1, Row{Known: true, Epoch: 1, State: letter("c")}))
	f("a vector without a ledger row", "there is a vector", put(7, Row{Has: true, Vector: letter("a").Hash, Digest: alphabet{}.Digest(letter("a").Hash)}))

	partial := func(key int64, r Row) func(*Look) { return func(l *Look) { l.Partial = 301; l.Rows[key] = r } }
	f("partial: still the old state", "", partial(1, row("c")))
	f("partial: the middle of a transaction", "", partial(1, row("part")))
	f("partial: its end", "", partial(1, row("d")))
	f("partial: behind the position", "key 1", partial(1, tombstone()))
	f("partial: before the watermark", "key 1", partial(1, row("a")))

	f("before the first refresh: not touched, missing", "", func(l *Look) { l.Swept = false; delete(l.Rows, 9) })
	f("before the first refresh: touched, missing", "key 1", func(l *Look) { l.Swept = false; delete(l.Rows, 1) })
	f("before the first refresh: wrong", "key 9", func(l *Look) { l.Swept = false; l.Rows[9] = row("new") })
	stale := row("older")
	stale.Epoch = -3
	f("a row of the old epoch, before the refresh", "", func(l *Look) { l.Swept = false; l.Rows[9] = stale })
	f("a row of the old epoch, touched since", "of epoch -3", func(l *Look) { l.Swept = false; l.Rows[1] = stale })
	f("a row of the old epoch, after the refresh", "of epoch -3", put(9, stale))
	f("a tombstone of the old epoch, after the refresh", "", put(7, Row{Known: true, Epoch: -3}))
	f("the same, of a live row", "the sink has -", put(9, Row{Known: true, Epoch: -3}))
}

// What the log does not bring may be missing until a backfill that began later has read every row,
// and no longer.
func TestJudgeWaitsForARefreshOfWhatWasNotPublished(t *testing.T) {
	t.Parallel()
	const old, next = 7, 8 // object ids
	unpublished := func(a Audit) Audit { a.Unpublished = true; return a }
	on := func(relation uint32, a Audit) Audit { a.Relation = relation; return a }
	var h History
	h.Add(100, []Audit{on(old, set(1, "a")), on(old, set(2, "b")), on(old, set(3, "c"))})
	h.Add(200, []Audit{on(old, unpublished(set(1, "unseen")))})
	h.Add(300, []Audit{on(next, set(3, "swapped"))})
	if h.Unpublished != 1 {
		t.Errorf("%d changes were not published", h.Unpublished)
	}
	f := func(name string, l Look, want ...string) {
		t.Helper()
		l.Epoch, l.Swept = 1, true
		l.Rows = map[int64]Row{1: row("a"), 2: row("b"), 3: row("c")}
		got := Judge(&h, l, alphabet{})
		for i, line := range got {
			got[i], _, _ = strings.Cut(line, " at W")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	f("before all of it", Look{Watermark: 150, Relation: old})
	f("not read yet", Look{Watermark: 250, Covered: 200, Relation: old})
	f("read by a backfill that began later", Look{Watermark: 250, Covered: 201, Relation: old}, "key 1")
	f("the old table is followed still", Look{Watermark: 350, Covered: 201, Relation: old}, "key 1")
	f("the new table is followed, and not read yet", Look{Watermark: 350, Covered: 150, Relation: next}, "key 3")
	f("the new table is read", Look{Watermark: 350, Covered: 350, Relation: next}, "key 1", "key 3")
	partial := Look{Watermark: 150, Partial: 201, Relation: old}
	f("ahead of the watermark", partial)
	var w windows
	end := w.begin(10)
	if !w.contain(10) || !w.contain(1<<40) || w.contain(9) || !w.open() {
		t.Errorf("a window that has not ended: contains 10 %t, 1<<40 %t, 9 %t; open %t", w.contain(10), w.contain(1<<40), w.contain(9), w.open())
	}
	if end(20); !w.contain(20) || w.contain(21) || w.open() || !w.ever() {
		t.Errorf("a window that has ended: contains 20 %t, 21 %t; open %t, ever %t", w.contain(20), w.contain(21), w.open(), w.ever())
	}
}

func TestJudgeWantsADeadLetterWithItsReason(t *testing.T) {
	t.Parallel()
	var h History
	h.Add(100, []Audit{set(1, "x"), set(2, "a")})
	f := func(name string, want bool, dead, sound Row) {
		t.Helper()
		l := Look{Epoch: 1, Watermark: 101, Swept: true, Rows: map[int64]Row{1: dead, 2: sound}}
		if got := Judge(&h, l, alphabet{dead: "x"}); (len(got) == 0) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	dead := Row{Known: true, Epoch: 1, State: letter("x"), Letter: letter("x").Hash, Reason: "too odd"}
	f("a letter", true, dead, row("a"))
	f("no letter", false, Row{Known: true, Epoch: 1, State: letter("x")}, row("a"))
	f("a vector of it", false, row("x"), row("a"))
	old := dead
	old.Letter = letter("y").Hash
	f("a letter for another text", false, old, row("a"))
	left := row("a")
	left.Letter, left.Reason = letter("x").Hash, "too odd"
	f("a letter that was left behind", false, dead, left)
}

func TestParseCommits(t *testing.T) {
	t.Parallel()
	commits, err := ParseCommits(`rmgr: Transaction len (rec/tot):     34/    34, tx:        742, lsn: 0/0195A1D8, prev 0/0195A198, desc: COMMIT 2026-11-24 19:24:00.1 UTC
rmgr: Transaction len (rec/tot):     54/    54, tx:        743, lsn: 0/0195A200, prev 0/0195A1D8, desc: ABORT 2026-11-24 19:24:00.2 UTC; subxacts: 744
rmgr: Transaction len (rec/tot):     82/  8190, tx:        745, lsn: 1A/0195B000, prev 0/0195A200, desc: COMMIT 2026-11-24 19:24:00.3 UTC; subxacts: 746 747
rmgr: Transaction len (rec/tot):     28/    28, tx:        748, lsn: 1A/0195B100, prev 0/0195A200, desc: COMMIT_PREPARED gid
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Commit{{XID: 742, LSN: 0x195A1D8}, {XID: 745, LSN: 0x1A_0195B000}}
	if !slices.Equal(commits, want) {
		t.Errorf("commits are %v, want %v", commits, want)
	}
}
