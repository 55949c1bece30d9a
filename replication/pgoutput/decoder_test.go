package pgoutput

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

func text(s string) change.Field { return change.Field{Text: s, State: change.FieldValue} }

func upsert(key change.Key, fields ...change.Field) change.Event {
	return change.Event{Op: change.Upsert, Key: key, Fields: fields}
}

func deletion(key change.Key) change.Event { return change.Event{Op: change.Delete, Key: key} }

func TestRowChangesBecomeEvents(t *testing.T) {
	null, kept := change.Field{}, change.Field{State: change.FieldUnchanged}
	f := func(name string, message []byte, want ...change.Event) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := one(t, NewDecoder(product(t), Limits{}), relationMessage(productOID, productColumns...), message)
			if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		})
	}
	f("insert", insertMessage(productOID, "9.5", "f", "long", "1", "Pen"), upsert("1", text("Pen"), text("long")))
	f("insert with null texts", insertMessage(productOID, absent{}, "f", absent{}, "1", ""), upsert("1", text(""), null))
	f("insert of a deleted row", insertMessage(productOID, "9", "t", "long", "1", "Pen"), deletion("1"))
	f("null soft delete is live", insertMessage(productOID, "9", absent{}, "d", "1", "n"), upsert("1", text("n"), text("d")))
	f("update", updateMessage(productOID, "9", "f", "d", "1", "n"), upsert("1", text("n"), text("d")))
	f("unchanged toast under the default identity", updateMessage(productOID, "9", "f", unchanged{}, "1", "n"),
		upsert("1", text("n"), kept))
	f("unchanged toast under the full identity",
		updateFromMessage(productOID, tupleOldFull, []any{"9", "f", "old long", "1", "old"}, []any{"9", "f", unchanged{}, "1", "n"}),
		upsert("1", text("n"), text("old long")))
	f("unchanged toast in a key tuple stays unchanged",
		updateFromMessage(productOID, tupleKey, []any{absent{}, absent{}, absent{}, "1", absent{}}, []any{"9", "f", unchanged{}, "2", "n"}),
		deletion("1"), upsert("2", text("n"), kept))
	f("changed key with the old key",
		updateFromMessage(productOID, tupleKey, []any{absent{}, absent{}, absent{}, "1", absent{}}, []any{"9", "f", "d", "2", "n"}),
		deletion("1"), upsert("2", text("n"), text("d")))
	f("changed key with the whole old row",
		updateFromMessage(productOID, tupleOldFull, []any{"9", "f", "d", "1", "n"}, []any{"9", "f", "d", "2", "n"}),
		deletion("1"), upsert("2", text("n"), text("d")))
	f("changed key of a row that is now deleted",
		updateFromMessage(productOID, tupleOldFull, []any{"9", "f", "d", "1", "n"}, []any{"9", "t", "d", "2", "n"}),
		deletion("1"), deletion("2"))
	f("same key with the whole old row",
		updateFromMessage(productOID, tupleOldFull, []any{"9", "f", "d", "1", "n"}, []any{"8", "f", "d", "1", "n"}),
		upsert("1", text("n"), text("d")))
	f("toasted key that did not change",
		updateFromMessage(productOID, tupleKey, []any{absent{}, absent{}, absent{}, "1", absent{}}, []any{"9", "f", "d", unchanged{}, "n"}),
		upsert("1", text("n"), text("d")))
	f("delete by key", deleteMessage(productOID, tupleKey, absent{}, absent{}, absent{}, "1", absent{}), deletion("1"))
	f("delete with the whole row", deleteMessage(productOID, tupleOldFull, "9", "f", "d", "1", "n"), deletion("1"))
	f("truncate", truncateMessage(otherOID, productOID), change.Event{Op: change.Truncate})
	f("truncate of another table", truncateMessage(otherOID))
	f("change of another table", insertMessage(otherOID, "1"))
}

func TestSoftDeleteColumnOfAnotherTypeMarksByNotBeingNull(t *testing.T) {
	table := product(t)
	table.SoftDeleteBool = false
	columns := append([]columnSpec(nil), productColumns...)
	columns[1].oid = 1114
	d := NewDecoder(table, Limits{})
	got := one(t, d, relationMessage(productOID, columns...),
		insertMessage(productOID, "9", "2026-01-01", "d", "1", "n"),
		insertMessage(productOID, "9", absent{}, "d", "2", "n"),
		updateMessage(productOID, "9", unchanged{}, "d", "3", "n"))
	if got[0].Op != change.Delete || got[1].Op != change.Upsert || got[2].Op != change.Delete {
		t.Fatalf("got %+v", got)
	}
}

func TestKeyHasItsPartsInConfiguredOrder(t *testing.T) {
	table := product(t, change.Column{Name: "name", Type: "text"}, change.Column{Name: "id", Type: "bigint"})
	got := one(t, NewDecoder(table, Limits{}), relationMessage(productOID, productColumns...),
		insertMessage(productOID, "9", "f", "d", "1", "a,b"),
		updateFromMessage(productOID, tupleKey, []any{absent{}, absent{}, absent{}, "1", "a,b"}, []any{"9", "f", "d", "1", "c"}))
	want := []change.Key{change.KeyOf("a,b", "1"), change.KeyOf("a,b", "1"), change.KeyOf("c", "1")}
	if len(got) != 3 || got[0].Key != want[0] || got[1].Key != want[1] || got[1].Op != change.Delete || got[2].Key != want[2] {
		t.Fatalf("got %+v", got)
	}
}

func TestFragmentCarriesItsTransaction(t *testing.T) {
	d := NewDecoder(product(t), Limits{})
	got := feed(t, d, beginMessage(0x1000, 42), relationMessage(productOID, productColumns...),
		insertMessage(productOID, "9", "f", "d", "1", "n"), commitMessage(0x1000, 0x1030))
	if len(got) != 1 || got[0].XID != 42 || got[0].LSN != 0x1001 || got[0].End != 0x1030 || !got[0].CommitTime.Equal(commitTime) || got[0].Bytes < 5 {
		t.Fatalf("got %+v", got)
	}
	got = feed(t, d, beginMessage(0x2000, 43), insertMessage(otherOID, "1"), commitMessage(0x2000, 0x2030))
	if len(got) != 1 || got[0].XID != 43 || got[0].LSN != 0x2001 || got[0].End != 0x2030 || len(got[0].Events) != 0 {
		t.Fatalf("a transaction without our rows: got %+v", got)
	}
}

func TestLargeTransactionIsCut(t *testing.T) {
	f := func(name string, limits Limits, rows int, want []int) {
		t.Run(name, func(t *testing.T) {
			d := NewDecoder(product(t), limits)
			messages := [][]byte{beginMessage(100, 7), relationMessage(productOID, productColumns...)}
			for i := range rows {
				messages = append(messages, insertMessage(productOID, "9", "f", strings.Repeat("d", 1000), fmt.Sprint(i), "n"))
			}
			got := feed(t, d, append(messages, commitMessage(100, 150))...)
			sizes, next := []int{}, 0
			for i, fragment := range got {
				sizes = append(sizes, len(fragment.Events))
				if last := i == len(got)-1; (fragment.End != 0) != last || fragment.LSN != 101 || fragment.XID != 7 {
					t.Fatalf("fragment %d of %d: %+v", i, len(got), fragment)
				}
				for _, e := range fragment.Events {
					if e.Key != change.Key(fmt.Sprint(next)) {
						t.Fatalf("key %q, want %d", e.Key, next)
					}
					next++
				}
			}
			if !reflect.DeepEqual(sizes, want) {
				t.Fatalf("got %v, want %v", sizes, want)
			}
		})
	}
	f("by events", Limits{Events: 3}, 8, []int{3, 3, 2})
	f("at the very end", Limits{Events: 4}, 8, []int{4, 4, 0})
	f("by bytes", Limits{Bytes: 2500}, 5, []int{3, 2})
	f("not at all", Limits{}, 5, []int{5})
}

func TestNewRelationMessageMovesColumns(t *testing.T) {
	d := NewDecoder(product(t), Limits{})
	got := one(t, d, relationMessage(productOID, productColumns...), insertMessage(productOID, "9", "f", "d", "1", "n"),
		relationMessage(productOID, columnSpec{"id", 20}, columnSpec{"deleted", 16}, columnSpec{"name", 25}, columnSpec{"extra", 25}, columnSpec{"description", 25}),
		insertMessage(productOID, "2", "f", "n2", "x", "d2"))
	if want := upsert("2", text("n2"), text("d2")); !reflect.DeepEqual(got[1], want) {
		t.Fatalf("got %+v, want %+v", got[1], want)
	}
}

func TestMissingColumnStopsWithItsName(t *testing.T) {
	f := func(missing string) {
		t.Helper()
		var columns []columnSpec
		for _, c := range productColumns {
			if c.name != missing {
				columns = append(columns, c)
			}
		}
		_, _, err := NewDecoder(product(t), Limits{}).Decode(relationMessage(productOID, columns...))
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "public.product") {
			t.Errorf("without %q: %v", missing, err)
		}
	}
	f("id")
	f("deleted")
	if _, _, err := NewDecoder(product(t), Limits{}).Decode(relationMessage(otherOID, columnSpec{"x", 25})); err != nil {
		t.Errorf("another table's columns: %v", err)
	}
}

// TestColumnNewerThanTheLog: a template may read a column that the table got after the change was
// logged.
func TestColumnNewerThanTheLog(t *testing.T) {
	var columns []columnSpec
	for _, c := range productColumns {
		if c.name != "description" {
			columns = append(columns, c)
		}
	}
	got := one(t, NewDecoder(product(t), Limits{}), relationMessage(productOID, columns...), insertMessage(productOID, "9.5", "f", "1", "n"))
	if want := upsert("1", text("n"), change.Field{State: change.FieldUnchanged}); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestChangedTypeStops(t *testing.T) {
	for i, oid := range map[int]uint32{3: 25, 1: 25} {
		columns := append([]columnSpec(nil), productColumns...)
		columns[i].oid = oid
		_, _, err := NewDecoder(product(t), Limits{}).Decode(relationMessage(productOID, columns...))
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), columns[i].name) {
			t.Errorf("%s: %v", columns[i].name, err)
		}
	}
}

func TestUnknownMessagesAreSkippedAndCounted(t *testing.T) {
	d := NewDecoder(product(t), Limits{})
	got := one(t, d, relationMessage(productOID, productColumns...), builder{'A'}.u32(1).u32(2),
		builder{typeOrigin}.u64(1).text("o"), builder{typeType}.u32(5).text("a").text("b"),
		builder{typeMessage}.u8(1).u64(3).text("p").u32(0), insertMessage(productOID, "9", "f", "d", "1", "n"), []byte{'z'})
	if len(got) != 1 || d.Skipped() != 2 {
		t.Fatalf("got %+v, skipped %d", got, d.Skipped())
	}
}

// TestTheSuccessorsTransactionsAreOnlyWaitedFor: its rows may have any columns, and are read later.
func TestTheSuccessorsTransactionsAreOnlyWaitedFor(t *testing.T) {
	d := NewDecoder(product(t), Limits{})
	d.Await(otherOID)
	await := change.Event{Op: change.Await}
	f := func(name string, want []change.Event, messages ...[]byte) {
		t.Helper()
		if got := one(t, d, messages...); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	f("insert", []change.Event{await}, relationMessage(otherOID, productColumns[0]), insertMessage(otherOID, "1"), insertMessage(otherOID, "2"))
	f("delete", []change.Event{await}, deleteMessage(otherOID, tupleKey, "1"))
	f("truncate", []change.Event{await}, truncateMessage(otherOID))
	f("truncate of both", []change.Event{await, {Op: change.Truncate}}, truncateMessage(otherOID, productOID))
	f("both", []change.Event{upsert("1", text("n"), text("d"))}, relationMessage(productOID, productColumns...),
		insertMessage(productOID, "9", "f", "d", "1", "n"), insertMessage(otherOID, "1"))
	f("another", nil, insertMessage(otherOID+1, "1"))
}

func TestMessagesThatMakeNoSenseAreErrors(t *testing.T) {
	relation := relationMessage(productOID, productColumns...)
	row := insertMessage(productOID, "9", "f", "d", "1", "n")
	f := func(name string, messages ...[]byte) {
		t.Run(name, func(t *testing.T) {
			d := NewDecoder(product(t), Limits{})
			for i, m := range messages {
				_, _, err := d.Decode(m)
				if last := i == len(messages)-1; (err != nil) != last {
					t.Fatalf("message %d of %d: %v", i+1, len(messages), err)
				}
			}
		})
	}
	f("empty", []byte{})
	f("row outside a transaction", relation, row)
	f("row without relation", beginMessage(1, 1), row)
	f("begin twice", beginMessage(1, 1), beginMessage(2, 2))
	f("commit without begin", commitMessage(1, 2))
	f("commit of another transaction", beginMessage(1, 1), commitMessage(2, 3))
	f("too few columns", relation, beginMessage(1, 1), insertMessage(productOID, "9"))
	f("null key", relation, beginMessage(1, 1), insertMessage(productOID, "9", "f", "d", absent{}, "n"))
	f("key left out", relation, beginMessage(1, 1), updateMessage(productOID, "9", "f", "d", unchanged{}, "n"))
	f("cut short", relation, beginMessage(1, 1), row[:len(row)-1])
	f("negative length", relation, beginMessage(1, 1), builder{typeInsert}.u32(productOID).u8(tupleNew).u16(5).u8(kindText).u32(1<<31))
}

func TestEventsDoNotAliasTheMessage(t *testing.T) {
	d := NewDecoder(product(t), Limits{})
	feed(t, d, relationMessage(productOID, productColumns...), beginMessage(1, 1))
	message := insertMessage(productOID, "9", "f", "long", "1", "Pen")
	feed(t, d, message)
	for i := range message {
		message[i] = 'x'
	}
	got := feed(t, d, commitMessage(1, 2))[0].Events
	if want := upsert("1", text("Pen"), text("long")); !reflect.DeepEqual(got[0], want) {
		t.Fatalf("got %+v, want %+v", got[0], want)
	}
}

// TestADomainIsTheTypeBelowIt: a relation message names a domain alone, the messages before it the
// type below.
func TestADomainIsTheTypeBelowIt(t *testing.T) {
	t.Parallel()
	typeMessage := func(oid uint32, schema, name string) []byte {
		return builder{typeType}.u32(oid).text(schema).text(name)
	}
	columns := slices.Clone(productColumns)
	columns[1].oid, columns[3].oid = 70001, 70002 // deleted, id
	relation := relationMessage(productOID, columns...)
	d := NewDecoder(product(t), Limits{})
	got := one(t, d, typeMessage(70001, "", "bool"), typeMessage(70002, "", "int8"), relation,
		insertMessage(productOID, "9", "f", "d", "1", "n"), insertMessage(productOID, "9", "t", "d", "2", "n"))
	if want := []change.Event{upsert("1", text("n"), text("d")), {Op: change.Delete, Key: "2"}}; !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	refused := func(name, column string, messages ...[]byte) {
		t.Helper()
		var err error
		d := NewDecoder(product(t), Limits{})
		for _, m := range append(messages, relation) {
			_, _, err = d.Decode(m)
		}
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), column) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("over another type", "deleted", typeMessage(70001, "", "text"), typeMessage(70002, "", "int8"))
	refused("a type of the same name", "deleted", typeMessage(70001, "public", "bool"), typeMessage(70002, "", "int8"))
	refused("of an earlier relation", "id", typeMessage(70001, "", "bool"), typeMessage(70002, "", "int8"), relationMessage(otherOID))
	if _, _, err := NewDecoder(product(t), Limits{}).Decode(typeMessage(70001, "", "bool")[:6]); err == nil {
		t.Error("a message that is cut short was taken")
	}
}
