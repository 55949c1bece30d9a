package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestADotEnvThatIsNoFileStopsNoCommand: a pipe of that name kept every command from answering
// signals, a folder, as some make for Python, from working.
func TestADotEnvThatIsNoFileStopsNoCommand(t *testing.T) {
	t.Parallel()
	w := newProgram(t)
	path := filepath.Join(w.dir, ".env")
	for what, create := range map[string]func() error{
		"a pipe": func() error { return syscall.Mkfifo(path, 0o600) }, "a folder": func() error { return os.Mkdir(path, 0o700) },
	} {
		if err := errors.Join(os.RemoveAll(path), create()); err != nil {
			t.Fatal(err)
		}
		got := w.ends([]string{"WAL2VEC_LOG_FORMAT=console"}, "", "config", "print")
		if got.code != 0 || !strings.Contains(got.stdout, "pipeline") || !strings.Contains(got.stderr, ".env is not read: it is "+what+" and not a file") {
			t.Errorf("%s: exit code %d\n%s", what, got.code, got.stderr)
		}
	}
}

// TestAHubOfDotEnvStopsWhatSendsATokenAlone: who has exported a token still works in a folder that
// names another hub.
func TestAHubOfDotEnvStopsWhatSendsATokenAlone(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	hub := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(hub.Close)
	w := newProgram(t)
	if err := os.WriteFile(filepath.Join(w.dir, ".env"), []byte("HF_ENDPOINT="+hub.URL+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"HF_TOKEN=" + plantedToken}
	if got := w.ends(env, "", "config", "print"); got.code != 0 {
		t.Errorf("config print: exit code %d\n%s", got.code, got.stderr)
	}
	got := w.ends(env, "", "models", "pull", "acme/tiny")
	clean(t, "models pull", got.stdout+got.stderr)
	if got.code != 2 || requests.Load() > 0 || !strings.Contains(got.stderr, "encoder.hub (.env HF_ENDPOINT): stands in .env, the token in environment HF_TOKEN") {
		t.Errorf("exit code %d, %d requests\n%s", got.code, requests.Load(), got.stderr)
	}
	if got = w.ends([]string{"HF_TOKEN="}, "", "models", "pull", "acme/tiny"); requests.Load() == 0 {
		t.Errorf("without a token: %s", got.stderr)
	}
}

// TestNothingThatWasTypedShowsAPassword: an address in the place of something else, or beside a
// misspelt name.
func TestNothingThatWasTypedShowsAPassword(t *testing.T) {
	t.Parallel()
	w := newProgram(t)
	for _, address := range []string{
		"postgres://u:" + planted + "@h/d", "postgres://u:a \"b' " + planted + "@h/d", "https://u:" + planted + "@h/x", "https://h/x?token=" + planted,
		"host=h password='a\\' " + planted + "' dbname=d", "host=h password=a&" + planted, "hf_" + strings.Repeat("x", 30) + planted,
	} {
		for _, args := range [][]string{
			{"models", "pull", address},
			{"models", "pull", "acme/tiny@" + address},
			{"models", "show", address},
			{"models", "check", address},
			{address},
			{"status", address},
			{"status", "--set", "source.dns=" + address},
			{"status", "--set", address},
			{"status", "--sorce", address},
			{"status", "--sorce=" + address},
			{"status", "--table", address},
			{"status", "-o", address},
			{"status", "--config", address},
			{"status", "--set", "http.listen=" + address},
			{"status", "--set", "source.dsn_file=" + address},
			{"status", "--set", "encoder.hub=" + address},
			{"bench", "encode", "--rows", address},
			{"generation", "build", address},
			{"generation", "build", "--model", address},
			{"dead-letter", "retry", "--key", address},
		} {
			got := w.ends([]string{"WAL2VEC_SOURCE_DSN="}, "", args...)
			clean(t, strings.Join(args, " "), got.stdout+got.stderr)
			if got.code == 0 {
				t.Errorf("%v works", args)
			}
		}
	}
}
