package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pair of ends of a pseudo terminal.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	return ours, theirs
}

// TestConfigInitAsksOnATerminal: a table is chosen, one answer is refused and given again, the rest
// is kept.
func TestConfigInitAsksOnATerminal(t *testing.T) {
	t.Parallel()
	w := newcomer(t)
	w.db.Exec(t, "CREATE TABLE public.article (id bigint PRIMARY KEY, title text, body text, deleted boolean NOT NULL)")
	ours, theirs := terminal(t)
	cmd := w.command(nil, "config", "init")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close() // the program has its own: the end of that is the end of what there is to read
	if _, err := io.WriteString(ours, "article\n\n{title\n{title}: {body}\nnone\n\n\ny\n"); err != nil {
		t.Fatal(err)
	}
	shown, _ := io.ReadAll(ours) // a terminal without a program ends with an error
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v:\n%s", err, shown)
	}
	for _, part := range []string{"staging_marts.dim_product", "source.key [id]:", "no closing brace", "source.soft_delete [deleted]:", "write wal2vec.yaml [Y/n]?"} {
		if !strings.Contains(string(shown), part) {
			t.Errorf("the terminal shows no %q:\n%s", part, shown)
		}
	}
	content, err := os.ReadFile(filepath.Join(w.dir, "wal2vec.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"table: public.article\n", `template: "{title}: {body}"`, "soft_delete: \"\"\n", "pipeline: article_embeddings\n"} {
		if !strings.Contains(string(content), part) {
			t.Errorf("the file lacks %q:\n%s", part, content)
		}
	}
}
