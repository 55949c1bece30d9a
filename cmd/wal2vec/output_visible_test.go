package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// hostile is a text that clears a screen, changes its colours and its title, turns the direction of
// writing, hides letters, and ends lines in every way.
const hostile = "a\x1b[2J\x1b]0;title\x07b\u009b31m c\u202e evil\u2066 d\u200b\u2060\ufeff e\U000e0041\ufe0f f\u2028g\u2029h\u0085i\rj\nk\tl\x7f\u061c\u00ad"

// noise is what of a text would do more to a terminal than print; lines may end.
func noise(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) && r != 0xfe0f || unicode.Is(unicode.Zs, r) {
			return -1
		}
		return r
	}, text)
}

func TestOurLinesStay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "a\tb\nc\x1bd\r": "a\tb\nc\\x1bd\\r", "\n\n\u202e\t": "\n\n\\u202e\t", "plain\n": "plain\n", "\x1b\n": "\\x1b\n",
	} {
		if got := visibleLines(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	for r := range rune(unicode.MaxRune) {
		if got := visibleLines(string(r)); r != '\t' && noise(got) != "" || !utf8.ValidString(got) {
			t.Fatalf("%U is printed as %q", r, got)
		}
	}
}

func TestAScreenKeepsCodePointsWhole(t *testing.T) {
	t.Parallel()
	text := "é日👍" + hostile + "end"
	for size := 1; size < 9; size++ {
		var out bytes.Buffer
		s := &screen{out: &out}
		for piece := range slices.Chunk([]byte(text), size) {
			if n, err := s.Write(piece); n != len(piece) || err != nil {
				t.Fatalf("wrote %d of %d, %v", n, len(piece), err)
			}
		}
		if out.String() != visibleLines(text) {
			t.Fatalf("in pieces of %d: %q", size, out.String())
		}
	}
}

// TestJSONOnATerminal is the same value, and prints no controls.
func TestJSONOnATerminal(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for r := range rune(unicode.MaxRune + 1) {
		all.WriteRune(r)
	}
	for _, text := range []string{hostile, all.String(), "plain", "\xff"} {
		var out bytes.Buffer
		if err := json.NewEncoder(jsonScreen{&out}).Encode(map[string]string{"name": text}); err != nil {
			t.Fatal(err)
		}
		if found := noise(out.String()); found != "" {
			t.Fatalf("%.200q of %.80q is printed", found, text)
		}
		var got map[string]string
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got["name"] != strings.ToValidUTF8(text, "\ufffd") {
			t.Errorf("%.200q came back as %.200q, %v", text, got["name"], err)
		}
	}
}

// TestTheConsoleLogPrintsNoControls, and the JSON log the text as it is.
func TestTheConsoleLogPrintsNoControls(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"console", "json"} {
		var out bytes.Buffer
		p := &program{stderr: &screen{out: &out}}
		log := p.logger(config.Log{Level: "info", Format: format})
		log.Info().Err(fault.New(fault.Usage, "", "%s", hostile)).Str("text", hostile).Strs("keys", []string{hostile}).Str(hostile, "name").
			Interface("deep", map[string]any{"x": []any{hostile}}).Msg(hostile)
		if format == "console" {
			if found := noise(out.String()); found != "" {
				t.Errorf("%q in %q", found, out.String())
			}
			if !strings.Contains(out.String(), `\u202e`) {
				t.Errorf("console: %q", out.String())
			}
			continue
		}
		var line struct {
			Message string `json:"message"`
			Text    string `json:"text"`
		}
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Message != hostile || line.Text != hostile {
			t.Errorf("JSON: %+v, %v in %q", line, err, out.String())
		}
	}
}

func TestAnErrorPrintsNoControls(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	code := run(t.Context(), []string{"search", "--min-lsn", hostile, "text"}, strings.NewReader(""), io.Discard, &out)
	if found := noise(out.String()); code != 2 || found != "" || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("exit code %d, %q in %q", code, found, out.String())
	}
}

// TestRowsPrintNoControls: whatever a row, its key or a server's message holds is escaped where
// people read it, and as it is in JSON.
func TestRowsPrintNoControls(t *testing.T) {
	t.Parallel()
	w, _ := newHashWorld(t, 5)
	w.db.Exec(t, "UPDATE "+product+" SET name = $1, brand = $1, description = $1 WHERE product_id = 3", hostile)
	w.env = append(w.env, "XDG_CACHE_HOME="+t.TempDir())
	w.run("init")
	w.run("backfill")
	w.db.Exec(t, "INSERT INTO wal2vec.dead_letter_"+w.db.Name+` (pipeline, key, generation, epoch, lsn, text_hash, reason)
		VALUES ($1, '{77}', 1, 1, '0/1', '\x000102030405060708090a0b0c0d0e0f', $2)`, w.db.Name, hostile)
	w.db.Exec(t, "DELETE FROM wal2vec."+w.vectorTable()+" WHERE product_id = 4")
	for _, args := range [][]string{
		{"search", "-k", "5", "anything"},
		{"search", "--columns", "name,description", "anything"},
		{"dead-letter", "list"},
		{"status"},
		{"audit"},
		{"config", "print", "--row", "3"},
		{"doctor"},
		{"generation", "list"},
		{"dead-letter", "drop", "--key", hostile + "x"},
		{"config", "print", "--row", hostile},
	} {
		got := w.ends([]string{"WAL2VEC_LOG_FORMAT=console"}, "", args...)
		if found := noise(got.stdout + got.stderr); found != "" {
			t.Errorf("%q: %q in\n%q\n%q", args, found, got.stdout, got.stderr)
		}
	}
	letters := w.deadLetters()
	if len(letters) != 1 || letters[0].Key[0] != "77" || letters[0].Reason != hostile {
		t.Errorf("JSON: %+v", letters)
	}
	if list := w.run("dead-letter", "list"); strings.Count(list, "\n") != 2 || strings.Count(list, `\x1b[2J`) != 1 {
		t.Errorf("list prints\n%s", list)
	}
	// A key that the table cannot have, as a sink of an older schema may hold it: the other letters
	// are listed, and the command says what to do.
	w.db.Exec(t, "ALTER TABLE wal2vec.dead_letter_"+w.db.Name+" DROP CONSTRAINT letter_key")
	w.db.Exec(t, "INSERT INTO wal2vec.dead_letter_"+w.db.Name+` (pipeline, key, generation, epoch, lsn, text_hash, reason)
		VALUES ($1, ARRAY[$2::text], 1, 1, '0/1', '\x000102030405060708090a0b0c0d0e0f', 'x')`, w.db.Name, hostile)
	for _, args := range [][]string{{"dead-letter", "list"}, {"dead-letter", "retry", "--all"}} {
		damaged := w.ends([]string{"WAL2VEC_LOG_FORMAT=console"}, "", args...)
		if noise(damaged.stdout+damaged.stderr) != "" || damaged.code != int(fault.Usage) || !strings.Contains(damaged.stderr, "dead-letter drop --all --yes") {
			t.Errorf("%q ends with %d and prints\n%s%s", args, damaged.code, damaged.stdout, damaged.stderr)
		}
		if args[1] == "list" && !strings.Contains(damaged.stdout, "\n77 ") || args[1] == "retry" && !strings.Contains(damaged.stdout, "retried 1 dead letter:") {
			t.Errorf("%q passes over the others: %s", args, damaged.stdout)
		}
	}
	w.run("generation", "list")
	w.run("dead-letter", "drop", "--all", "--yes")
	if letters := w.deadLetters(); len(letters) != 0 {
		t.Errorf("left are %+v", letters)
	}
	var row printedRow
	w.result(&row, nil, "config", "print", "--row", "3", "-o", "json")
	if row.Text == nil || !strings.Contains(*row.Text, strings.TrimSpace(hostile)) {
		t.Errorf("JSON: %+v", row)
	}
	if text := w.ends(nil, "", "config", "print", "--row", "3"); strings.Count(text.stdout, "\n") != 1 {
		t.Errorf("the text is printed as\n%s", text.stdout)
	}
	if got := fmt.Sprint(w.ends(nil, "", "search", "-k", "5", "anything").stdout); !strings.Contains(got, `\x1b[2J`) || strings.Count(got, "\n") != 7 {
		t.Errorf("search prints\n%s", got)
	}
}
