package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestAWrongCallEndsWithCode2AndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	f := func(call, what, try string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(call), strings.NewReader(""), &stdout, &stderr)
		want := "error: " + what + "\ntry: " + try + "\n"
		if got := stderr.String(); code != 2 || got != want || stdout.Len() > 0 {
			t.Errorf("wal2vec %s: exit code %d\n%swant\n%s", call, code, got, want)
		}
	}
	unknown := func(call, name, of, try string) {
		t.Helper()
		f(call, `unknown command "`+name+`" for "`+of+`"`, try)
	}
	unknown("initt", "initt", "wal2vec", "wal2vec init")
	unknown("serch --limit 5 text", "serch", "wal2vec", "wal2vec search") // and not bench
	unknown("--config x initt --resync", "initt", "wal2vec", "wal2vec init")
	unknown("nothing", "nothing", "wal2vec", "wal2vec --help")
	unknown("models chekc --foo", "chekc", "wal2vec models", "wal2vec models check")
	unknown("bench encod", "encod", "wal2vec bench", "wal2vec bench encode")
	unknown("completion of", "of", "wal2vec completion", "wal2vec completion --help")
	unknown("completion bash now", "now", "wal2vec completion bash", "wal2vec completion bash --help")
	unknown("help initt", "initt", "wal2vec", "wal2vec init")
	unknown("help models chekc", "chekc", "wal2vec models", "wal2vec models check")
	unknown("status now", "now", "wal2vec status", "wal2vec status --help")

	f("search", "wal2vec search: accepts 1 arg(s), received 0", "wal2vec search --help")
	f("models check a b", "wal2vec models check: accepts at most 1 arg(s), received 2", "wal2vec models check --help")
	f("init --nope", "reading flags: unknown flag: --nope", "wal2vec init --help")
	f("--nope initt", "reading flags: unknown flag: --nope", "wal2vec --help")
	f("status -o", "reading flags: flag needs an argument: 'o' in -o", "wal2vec status --help")
	f("audit --sample 5 --full", "wal2vec audit: --full and --sample exclude each other", "wal2vec audit --help")
	f("backfill --restart --dry-run now", "wal2vec backfill: --restart and --dry-run exclude each other", "wal2vec backfill --help")
}

// TestCobraItselfRefusesNothing: an error of cobra's own that comes after the arguments has no
// kind.
func TestCobraItselfRefusesNothing(t *testing.T) {
	t.Parallel()
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		if cmd.Args == nil || !cmd.Runnable() {
			t.Fatalf("%s says nothing of its arguments", cmd.CommandPath())
		}
		if err := cmd.ValidateRequiredFlags(); err != nil {
			t.Errorf("%s: %v", cmd.CommandPath(), err)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Changed = true })
		err := cmd.ValidateFlagGroups()
		if own := cmd.Args(cmd, nil); err != nil && !strings.HasSuffix(fmt.Sprint(own), " exclude each other") {
			t.Errorf("%s with every flag: %v, of cobra %v", cmd.CommandPath(), own, err)
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(newRoot(&program{}))
}

func TestGroupsOfCommandsShowTheirHelp(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"", "models", "bench", "dead-letter", "generation", "config", "completion", "help", "help models"} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(call), strings.NewReader(""), &stdout, &stderr)
		if code != 0 || !strings.Contains(stdout.String(), "Usage:") || stderr.Len() > 0 {
			t.Errorf("wal2vec %s: exit code %d, %s%s", call, code, stdout.String(), stderr.String())
		}
	}
}
