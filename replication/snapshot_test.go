package replication

import (
	"reflect"
	"testing"
	"time"
)

func mustSnapshot(t *testing.T, text string) snapshot {
	t.Helper()
	s, err := parseSnapshot(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseSnapshot(t *testing.T) {
	if got := mustSnapshot(t, "10:20:10,14"); !reflect.DeepEqual(got, snapshot{xmin: 10, xmax: 20, xip: []uint64{10, 14}}) {
		t.Errorf("got %+v", got)
	}
	for _, in := range []string{"", "1:2", "1:2:3:4", "x:2:", "1:x:", "1:2:x", "1:2:3,"} {
		if _, err := parseSnapshot(in); err == nil {
			t.Errorf("%q: want an error", in)
		}
	}
}

func TestSnapshotSees(t *testing.T) {
	f := func(s string, xid uint32, want bool) {
		t.Helper()
		if got := mustSnapshot(t, s).sees(xid); got != want {
			t.Errorf("%s sees %d: %v", s, xid, got)
		}
	}
	f("10:20:10,14", 9, true)
	f("10:20:10,14", 10, false)
	f("10:20:10,14", 11, true)
	f("10:20:10,14", 14, false)
	f("10:20:10,14", 19, true)
	f("10:20:10,14", 20, false)
	f("10:20:10,14", 21, false)
	// 2^32 = 4294967296: ids start again, full ids do not.
	f("4294967290:4294967300:4294967301", 4294967295, true)
	f("4294967290:4294967300:4294967298", 2, false)
	f("4294967290:4294967300:4294967298", 3, true)
	f("4294967290:4294967300:", 4, false)
	f("4294967290:4294967295:", 5, false)
}

func TestSnapshotDominates(t *testing.T) {
	f := func(s, other string, want bool) {
		t.Helper()
		if got := mustSnapshot(t, s).dominates(mustSnapshot(t, other)); got != want {
			t.Errorf("%s dominates %s: %v", s, other, got)
		}
	}
	f("10:10:", "10:10:", true)
	f("12:12:", "10:10:", true)
	f("10:12:10", "11:12:", false)      // 10 is open here, ended there
	f("10:12:10", "10:12:10", true)     // open in both
	f("10:12:10", "10:11:10", true)     // 11 is newer
	f("10:10:", "10:12:10,11", true)    // what is too new here is open there
	f("10:10:", "10:12:11", false)      // 10 is too new here and visible there
	f("10:20:15", "12:12:", true)       // 15 is too new there
	f("10:20:11,15", "10:14:10", false) // 11 is visible there
}

func TestGateForgetsXminInTime(t *testing.T) {
	now := time.Now()
	g := NewGate(GateOptions{})
	g.now = func() time.Time { return now }
	if got := g.unknown([]uint32{5}); len(got) != 1 {
		t.Error("a gate that has asked nothing knows nothing")
	}
	g.xmin, g.read = 100, now
	if got := g.unknown([]uint32{5, 99}); len(got) != 0 {
		t.Errorf("below xmin: %v", got)
	}
	if got := g.unknown([]uint32{5, 100, 7}); len(got) != 2 {
		t.Errorf("at xmin: %v", got)
	}
	now = now.Add(xminLifetime + 1)
	if got := g.unknown([]uint32{5}); len(got) != 1 {
		t.Error("an old xmin is still used")
	}
}
