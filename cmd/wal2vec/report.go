package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

// report prints an error as one line and, when there is advice, a second one, and returns the exit
// code.
func (p *program) report(err error) int {
	if err == nil {
		return 0
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

// advice is what an error says to do, as it may be printed. Stars in the place of a password could
// take a quote with them, and what stands in quotes would stand outside: an advice that needs them
// is not shown.
func advice(try string) string {
	if config.Scrub(try) != try {
		return "what is to be done holds what looks like a password, and is not shown"
	}
	return pgname.Visible(try)
}

// strict makes a command, and all below it, refuse arguments that it does not take, with the exit
// code of a wrong call: cobra's own errors have no type that would say so. A command that says
// nothing of its arguments takes none, and one that does nothing itself shows its help.
func strict(cmd *cobra.Command) {
	if cmd.Args == nil {
		cmd.Args = cobra.NoArgs
	}
	if !cmd.Runnable() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	takes := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := takes(cmd, args)
		switch {
		case err == nil:
			return nil
		case fault.KindOf(err) == fault.Usage:
			return err
		case cmd.HasSubCommands() && len(args) > 0:
			return unknown(cmd, args[0])
		}
		what := err.Error()
		if !strings.Contains(what, cmd.CommandPath()) {
			what = cmd.CommandPath() + ": " + what
		}
		return fault.New(fault.Usage, cmd.CommandPath()+" --help", "%s", what)
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

// unknown refuses the name of a command that is not there. The advice is one whose name is like it.
func unknown(cmd *cobra.Command, name string) error {
	try := cmd.CommandPath() + " --help"
	for differing := 1; differing <= 2 && name != ""; differing++ { // letters; cobra's own message takes two at most
		cmd.SuggestionsMinimumDistance = differing
		if names := cmd.SuggestionsFor(name); len(names) > 0 {
			try = cmd.CommandPath() + " " + pgname.Shell(names[0])
			break
		}
	}
	return fault.New(fault.Usage, try, "unknown command %q for %q", name, cmd.CommandPath())
}

// misread gives an error of the flags its exit code. Where flags follow the name of a command that
// is not there, they are that one's, and the name is what is wrong.
func misread(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return unknown(cmd, args[0])
	}
	return fault.Wrap(err, fault.Usage, cmd.CommandPath()+" --help", "reading flags")
}

// exclusive makes a command refuse more than one of these flags. Its Args must be set before.
func exclusive(cmd *cobra.Command, names ...string) {
	cmd.MarkFlagsMutuallyExclusive(names...) // completion leaves the others out
	takes := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		var given []string
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				given = append(given, name)
			}
		}
		if len(given) > 1 {
			return fault.New(fault.Usage, cmd.CommandPath()+" --help", "%s: --%s exclude each other", cmd.CommandPath(), strings.Join(given, " and --"))
		}
		return takes(cmd, args)
	}
}

// helpful is cobra's command help, which says so where there is nothing to help with.
func helpful(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	found, _, err := root.Find([]string{"help"})
	if err != nil || found == root {
		return
	}
	found.Args = func(_ *cobra.Command, args []string) error {
		if cmd, rest, err := root.Find(args); err != nil || len(rest) > 0 {
			return unknown(cmd, rest[0])
		}
		return nil
	}
}
