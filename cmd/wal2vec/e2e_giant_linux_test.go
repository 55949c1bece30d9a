package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// memory reads a figure of a running process, in bytes.
func (p *process) memory(field string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), field+":")
	var kilobytes int64
	_, _ = fmt.Sscan(rest, &kilobytes)
	return kilobytes << 10
}

// TestARowOfAnySizeCostsItsStreamNoMoreThanTheLimit, and what a row within the limit took is given
// back.
func TestARowOfAnySizeCostsItsStreamNoMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 5)
	w.run("init")
	w.run("backfill")
	stream := w.start(nil, "stream")
	stream.waitFor("streaming")
	w.settle()
	const giant, large = 200 << 20, 40 << 20
	write := func(column string, bytes int) {
		w.db.Exec(t, fmt.Sprintf("UPDATE %s SET %s = repeat('0123456789abcdef', %d) WHERE product_id = 2", product, column, bytes/16))
		w.settle()
	}
	w.db.Exec(t, "ALTER TABLE "+product+" ADD COLUMN attachment text")
	write("attachment", 1<<20)
	before := stream.memory("VmHWM")
	write("attachment", giant)
	write("description", giant)
	if rise := stream.memory("VmHWM") - before; before == 0 || rise > giant/8 {
		t.Errorf("rows of %d bytes moved the peak of %d bytes by %d", giant, before, rise)
	}
	if letters := w.deadLetters(); len(letters) != 1 || !strings.Contains(letters[0].Reason, "larger than stream.max_row_bytes (67108864)") {
		t.Errorf("letters %+v", letters)
	}
	before = stream.memory("VmRSS")
	write("description", large)
	if rise := stream.memory("VmHWM") - before; rise < large { // else the row was not read, and what follows says nothing
		t.Errorf("a row of %d bytes moved the peak by %d", large, rise)
	}
	pgtest.Eventually(t, processTimeout, func() (bool, string) {
		after := stream.memory("VmRSS")
		return after < before+large/2, fmt.Sprintf("%d bytes are resident, %d were before a row of %d", after, before, large)
	})
	if letters := w.deadLetters(); len(letters) != 0 {
		t.Errorf("letters %+v", letters)
	}
	var printed printedRow
	w.result(&printed, nil, "config", "print", "--row", "2", "-o", "json")
	if printed.Text == nil || len(*printed.Text) != change.MostText || printed.TextBytes < large {
		t.Errorf("the row is printed with a text of %d bytes", printed.TextBytes)
	}
	if said := w.run("config", "print", "--row", "2"); !strings.Contains(said, fmt.Sprintf("the first %d of %d bytes", change.MostText, printed.TextBytes)) {
		t.Errorf("config print does not say that the text is cut: %.200q", said)
	}
	w.db.Exec(t, "UPDATE "+product+" SET attachment = NULL, description = 'short' WHERE product_id = 2")
	w.settle()
	w.check()
	stream.stop()
}
