package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
)

func main() {
	zerolog.DurationFieldFormat = zerolog.DurationFormatString // with their unit, in every line of the log
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program: it returns the exit code. The first SIGINT or SIGTERM asks for an
// orderly end, the second ends the process at once.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()

	p := &program{stdin: stdin, stdout: &screen{out: stdout}, stderr: &screen{out: stderr}}
	root := newRoot(p) //nolint:contextcheck // ExecuteContext hands it to every command
	root.SetArgs(args)
	return p.report(root.ExecuteContext(ctx))
}

const exitCodes = `Exit codes: 0 done; 1 failed; 2 usage or configuration; 3 findings; 4 the slot is held by another process;
5 unreachable or timed out, try again; 6 gap, the stream cannot go on; 7 another model, or a model that fails its self-test.`
