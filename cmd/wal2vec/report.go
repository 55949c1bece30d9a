package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// report prints an error as one line and, when there is advice, a second one, and returns the exit code. The command is the one
// that ended with it.
func (p *program) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	if misused := misuse(cmd, err); misused != nil {
		err = misused
	}
	_, _ = fmt.Fprintf(p.stderr, "error: %s\n", config.Printable(err))
	try := fault.Try(err)
	if p.overlooked && fault.Absent(err) {
		try = useStarter
	}
	if try != "" {
		_, _ = fmt.Fprintf(p.stderr, "try: %s\n", advice(try))
	}
	return int(fault.KindOf(err))
}

// advice is what an error says to do, as it may be printed. Stars in the place of a password could take a quote with them, and what stands in
// quotes would stand outside: an advice that needs them is not shown.
func advice(try string) string {
	if config.Scrub(try) != try {
		return "what is to be done holds what looks like a password, and is not shown"
	}
	return pgname.Visible(try)
}

var (
	// complaints are the beginnings of cobra's own errors, which have no type.
	complaints = regexp.MustCompile(`^(unknown command|unknown flag|accepts |requires |invalid argument|required flag|if any flags)`)
	// together is what cobra says of flags that exclude each other.
	together = regexp.MustCompile(`\[([a-z -]+)\] were all set`)
)

// misuse gives cobra's own complaints a kind and an advice; it returns nil for every other error.
func misuse(cmd *cobra.Command, err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok || !complaints.MatchString(err.Error()) {
		return nil
	}
	what, rest, _ := strings.Cut(err.Error(), "\n")
	try := cmd.CommandPath() + " --help"
	if flags := together.FindStringSubmatch(what); flags != nil {
		return fault.New(fault.Usage, try, "%s: --%s exclude each other", cmd.CommandPath(), strings.Join(strings.Fields(flags[1]), " and --"))
	}
	if _, list, found := strings.Cut(rest, "Did you mean this?"); found {
		if names := strings.Fields(list); len(names) > 0 {
			try = cmd.CommandPath() + " " + pgname.Shell(names[0])
		}
	}
	if !strings.Contains(what, cmd.CommandPath()) {
		what = cmd.CommandPath() + ": " + what
	}
	return fault.New(fault.Usage, try, "%s", what)
}

// group makes a command that does nothing itself refuse what is not one of its own.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}
