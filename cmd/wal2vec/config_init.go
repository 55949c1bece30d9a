package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/safefile"
	"github.com/wal2vec/wal2vec/replication"
)

type configInitOptions struct {
	out        string
	force, yes bool
	table      string
	named      bool // the file is not the default one
}

const (
	settingsFile = "wal2vec.yaml"
	toStdout     = "-"
)

func newConfigInit(p *program) *cobra.Command {
	var o configInitOptions
	cmd := &cobra.Command{
		Use: "init [TABLE]", Short: "Write a settings file for a table: key, template, soft delete, names", Args: cobra.MaximumNArgs(1),
		Long: "Ask the source database and write a settings file for one of its tables. The command proposes key, template and soft-delete\n" +
			"column from the catalogue (it reads no row), and the names of pipeline and view from the name of the table. A flag, variable\n" +
			"or file that sets one of them wins. On a terminal you can change each; --yes takes all as they are. Without TABLE, the command\n" +
			"lists the tables that can be followed. The file holds no connection string. An existing file is kept, unless you give --force.",
		Example: `  wal2vec config init public.article
  wal2vec config init public.article --source-template '{title}. {body}' --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.table = args[0]
			}
			return p.configInit(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.out, "out", "", "file to write; - prints it (default: --config, WAL2VEC_CONFIG, else "+settingsFile+")")
	flags.BoolVar(&o.force, "force", false, "replace an existing file")
	flags.BoolVar(&o.yes, "yes", false, "ask nothing")
	return cmd
}

// proposing is a config init under way.
type proposing struct {
	program *program
	options configInitOptions
	ask     *interview // nil where no one is there to answer
	source  *pgx.Conn
	config  config.Config
	// proposed are the proposals and answers, as flags below those that were given.
	proposed []config.Flag
	notes    map[string][]string
	// first are statements that have to be run before wal2vec init.
	first []string
}

func (p *program) configInit(ctx context.Context, o configInitOptions) error {
	if o.out == "" {
		o.out = cmp.Or(p.configFile, os.Getenv("WAL2VEC_CONFIG"))
	}
	o.named = o.out != ""
	o.out = cmp.Or(o.out, settingsFile)
	if err := free(o); err != nil {
		return err
	}
	i := &proposing{program: p, options: o, notes: map[string][]string{}}
	if !o.yes && isTerminal(p.stdin) && isTerminal(p.stdout) {
		i.ask = newInterview(p.stdin, p.stdout)
	}
	if err := i.load(); err != nil {
		return err
	}
	if origin := i.config.Origin("source.dsn"); origin.Kind == config.FromFile && origin.File == o.out && origin.Name == "" && o.out != toStdout {
		return fault.New(fault.Usage, "export WAL2VEC_SOURCE_DSN, and take source.dsn out of the file; or give another --out",
			"%s holds source.dsn, which a new file in its place would not", o.out)
	}
	var err error
	if i.source, err = connect.Source(ctx, i.config, "config"); err != nil {
		return err
	}
	defer i.source.Close(context.WithoutCancel(ctx))
	if listed, err := i.chooseTable(ctx); listed || err != nil {
		return err
	}
	if err := i.propose(ctx); err != nil {
		return err
	}
	if err := i.answers(); err != nil {
		return err
	}
	if err := i.examine(ctx); err != nil {
		return err
	}
	return i.write()
}

// free refuses to write over what is there.
func free(o configInitOptions) error {
	if o.out == toStdout || o.force {
		return nil
	}
	switch _, err := os.Lstat(o.out); {
	case err == nil:
		try := "give another file: --out FILE, or --force to replace it"
		if o.out == settingsFile && !o.named {
			try = "export WAL2VEC_CONFIG=" + pgname.ShellHere(settingsFile) +
				", and the commands use it; for another file --out FILE, or --force to replace it"
		}
		return fault.New(fault.Usage, try, "%s is there already", o.out)
	case !errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(err, fault.Usage, "give another file: --out FILE", "looking for %s", o.out)
	}
	return nil
}

// load reads the settings with the proposals among the flags. The file that is to be written is no
// source where it is not there yet.
func (i *proposing) load() (err error) {
	p := i.program
	i.config, err = p.loadFrom(func(s *config.Sources) {
		s.Flags = slices.Concat(i.proposed, s.Flags)
		if _, missing := os.Lstat(i.options.out); !errors.Is(missing, fs.ErrNotExist) {
			return
		}
		if s.File == i.options.out {
			s.File = ""
		}
		if s.Env["WAL2VEC_CONFIG"] == i.options.out {
			delete(s.Env, "WAL2VEC_CONFIG")
		}
	})
	return err
}

// set proposes a value, or answers with one; where it is a proposal, what sets it otherwise wins.
func (i *proposing) set(path, value string) {
	i.proposed = append(i.proposed, config.Flag{Name: "config init", Path: path, Value: value})
}

func (i *proposing) unset(path string) bool { return i.config.Origin(path).Kind == config.FromDefault }

// chooseTable finds out which table is meant; listed is true where the candidates were printed
// instead.
func (i *proposing) chooseTable(ctx context.Context) (listed bool, err error) {
	wanted := i.options.table
	if wanted == "" && !i.unset("source.table") {
		return false, nil
	}
	if wanted == "" {
		candidates, err := replication.Candidates(ctx, i.source, i.config.Sink.Schema)
		if err != nil {
			return false, err
		}
		switch {
		case len(candidates) == 0:
			return false, fault.New(fault.Usage, "name it, to learn why it is none: wal2vec config init SCHEMA.TABLE",
				"no table of database %q can be followed: with a unique index and a column of text, and open to this role", i.source.Config().Database)
		case len(candidates) == 1:
			wanted = nameOf(candidates[0]).String()
		case i.ask != nil:
			if wanted, err = i.ask.table(candidates); err != nil {
				return false, err
			}
		default:
			return true, listCandidates(i.program.stdout, candidates)
		}
	}
	name, err := i.find(ctx, wanted)
	if err != nil {
		return false, err
	}
	i.set("source.table", name.String())
	return false, i.load()
}

func nameOf(c replication.Candidate) config.Name { return config.Name{Schema: c.Schema, Name: c.Table} }

// find reads a table's name: as SQL does, or without a schema or with other capitals where one
// table alone can be meant.
func (i *proposing) find(ctx context.Context, text string) (config.Name, error) {
	name, parseErr := config.ParseName(text)
	if parseErr != nil {
		name = config.Name{Name: strings.Trim(text, `"`)}
	}
	alike, err := replication.Alike(ctx, i.source, name.Schema, name.Name)
	if err != nil {
		return name, err
	}
	var exact []config.Name
	var others []string
	for _, c := range alike {
		if found := nameOf(c); found == name || parseErr != nil && found.Name == name.Name {
			exact = append(exact, found)
		}
		others = append(others, nameOf(c).String())
	}
	switch {
	case len(exact) == 1:
		return exact[0], nil
	case len(others) > 0:
		return name, fault.New(fault.Usage, "wal2vec config init "+pgname.Shell(others[0]),
			"no single table is %s; there are: %s", text, strings.Join(others, ", "))
	default:
		return name, fault.New(fault.Usage, "wal2vec config init, which lists the tables", "database %q has no table %s", i.source.Config().Database, text)
	}
}

func listCandidates(w io.Writer, candidates []replication.Candidate) error {
	var text strings.Builder
	text.WriteString("tables that can be followed:\n")
	for _, c := range candidates {
		fmt.Fprintf(&text, "  %s%s\n", pgname.Visible(nameOf(c).String()), rowsText(c))
	}
	fmt.Fprintf(&text, "next: wal2vec config init TABLE, such as wal2vec config init %s\n", pgname.Shell(nameOf(candidates[0]).String()))
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("printing the tables: %w", err)
	}
	return nil
}

func rowsText(c replication.Candidate) string {
	if c.Rows == nil {
		return ""
	}
	return fmt.Sprintf("  (about %d rows)", *c.Rows)
}

// propose fills in what nothing else sets.
func (i *proposing) propose(ctx context.Context) error {
	table := i.config.Source.Table
	p, err := replication.Propose(ctx, i.source, table.Schema, table.Name)
	if err != nil && (len(p.Key) == 0 && i.unset("source.key") || len(p.Texts) == 0 && i.unset("source.template")) {
		return err
	}
	if i.unset("source.key") {
		i.set("source.key", config.Columns(p.Key))
	}
	if i.unset("source.template") {
		columns := make([]string, len(p.Texts))
		for n, name := range p.Texts {
			columns[n] = change.InTemplate(name)
		}
		i.set("source.template", strings.Join(columns, ". "))
		if len(p.Left) > 0 {
			i.notes["source.template"] = []string{"Not in it, of type text: " + strings.Join(p.Left, ", ") + "."}
		}
	}
	if i.unset("source.soft_delete") {
		i.set("source.soft_delete", p.SoftDelete)
		switch {
		case p.SoftDelete != "":
		case p.Active != "":
			i.notes["source.soft_delete"] = []string{
				"No column is known to mark deleted rows. " + p.Active + " may say the contrary, for which there is no rule: every row gets a vector.",
			}
		default:
			i.notes["source.soft_delete"] = []string{
				"No column has a name that is known to mark deleted rows, such as deleted or is_deleted: name one here if there is one.",
			}
		}
	}
	if i.unset("pipeline") {
		i.set("pipeline", config.PipelineFor(table))
	}
	i.notes["source.dsn"] = []string{
		"The connection string is not here, as it may hold a password: export WAL2VEC_SOURCE_DSN, or write it into a file that",
		"you alone can read, and name that:",
		"dsn_file: /etc/wal2vec/source-dsn",
	}
	i.notes["sink.dsn"] = []string{
		"The vectors go into the source database. For another one: export WAL2VEC_SINK_DSN, or:", "dsn_file: /etc/wal2vec/sink-dsn",
	}
	if i.config.Sink.DSN != "" {
		i.notes["sink.dsn"] = []string{"Nor is the sink's: export WAL2VEC_SINK_DSN, or:", "dsn_file: /etc/wal2vec/sink-dsn"}
	}
	return i.load()
}

// answers lets a person change the proposals.
func (i *proposing) answers() error {
	if i.ask == nil {
		return nil
	}
	for _, path := range []string{"source.key", "source.template", "source.soft_delete", "pipeline", "sink.view"} {
		if err := i.answer(path); err != nil {
			return err
		}
	}
	if i.options.out == toStdout {
		return nil
	}
	return i.ask.confirm("write " + pgname.Visible(i.options.out))
}

// answer asks for one setting until the answer is one that it takes.
func (i *proposing) answer(path string) error {
	for {
		before := i.proposed
		text, changed, err := i.ask.setting(path, i.config.Value(path))
		if err != nil || !changed {
			return err
		}
		i.proposed = slices.Concat(before, []config.Flag{{Name: "answer", Path: path, Value: text}})
		loadErr := i.load()
		if loadErr == nil {
			delete(i.notes, path) // what was said of the proposal
			return nil
		}
		i.proposed = before
		if err := i.load(); err != nil {
			return err
		}
		if err := i.ask.say(config.Printable(loadErr)); err != nil {
			return err
		}
	}
}

// examine looks at the table under the settings that will be written: what init would refuse is
// said now, with what repairs it.
func (i *proposing) examine(ctx context.Context) error {
	_, problems := replication.Examine(ctx, i.source, connect.InspectOptions(i.config))
	for _, problem := range problems {
		if problem.Aspect != replication.AspectIdentity && problem.Aspect != replication.AspectKey {
			return problem.Err
		}
		i.first = append(i.first, fmt.Sprintf("%s: %s", config.Printable(problem.Err), advice(fault.Try(problem.Err))))
	}
	server, err := replication.Server(ctx, i.source)
	if err != nil {
		return err
	}
	if problem := server.Check(); problem != nil {
		i.first = append(i.first, fmt.Sprintf("%s: %s", config.Printable(problem), advice(fault.Try(problem))))
	}
	return nil
}

// write writes the file and says how to go on.
func (i *proposing) write() error {
	o, w := i.options, i.program.stdout
	text := i.config.Starter(o.out, i.notes)
	if o.out == toStdout {
		_, err := io.WriteString(w, text)
		return err
	}
	if err := free(o); err != nil { // it took a while
		return err
	}
	const mode = 0o644 // it holds no secret, and a service may read it
	err := safefile.Replace(o.out, mode, func(f *os.File) error {
		_, err := f.WriteString(text)
		return err
	})
	if err != nil {
		return fault.Wrap(err, fault.Usage, "give another file: --out FILE", "writing the settings")
	}
	var next strings.Builder
	fmt.Fprintf(&next, "%s is written:\n\n%s\n", pgname.Visible(o.out), text)
	for _, first := range i.first {
		fmt.Fprintf(&next, "first: %s\n", first)
	}
	fmt.Fprintf(&next, "next: export WAL2VEC_CONFIG=%s\n", pgname.ShellHere(o.out))
	next.WriteString("      wal2vec config print --row KEY   # the text of a row\n" +
		"      wal2vec init\n      wal2vec stream &\n      wal2vec backfill\n")
	if _, err := io.WriteString(w, next.String()); err != nil {
		return fmt.Errorf("printing what to do next: %w", err)
	}
	return nil
}

// interview asks a person on a terminal, a line at a time.
type interview struct {
	in  *bufio.Reader
	out io.Writer
}

func newInterview(in io.Reader, out io.Writer) *interview {
	return &interview{in: bufio.NewReader(in), out: out}
}

// errNotWritten ends an interview without a file.
var errNotWritten error = fault.New(fault.Usage, "answer y, or give --yes", "nothing is written")

// line asks for one line. An end of the input is a no.
func (i *interview) line(question string) (string, error) {
	if err := i.print(question + " "); err != nil {
		return "", err
	}
	text, err := i.in.ReadString('\n')
	switch {
	case errors.Is(err, io.EOF) && text == "":
		return "", errNotWritten
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	return strings.TrimSpace(text), nil
}

func (i *interview) print(text string) error {
	if _, err := io.WriteString(i.out, text); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	return nil
}

// say prints a line.
func (i *interview) say(text string) error { return i.print(text + "\n") }

// table asks for a table of a list, by its number or name.
func (i *interview) table(candidates []replication.Candidate) (string, error) {
	for n, c := range candidates {
		if err := i.say(fmt.Sprintf("%4d  %s%s", n+1, pgname.Visible(nameOf(c).String()), rowsText(c))); err != nil {
			return "", err
		}
	}
	for {
		answer, err := i.line("which table (number or name)?")
		if err != nil {
			return "", err
		}
		n, err := strconv.Atoi(answer)
		switch {
		case err == nil && n >= 1 && n <= len(candidates):
			return nameOf(candidates[n-1]).String(), nil
		case err != nil && answer != "":
			return answer, nil
		}
	}
}

// none is the answer that empties a setting: an empty one keeps it.
const none = "none"

// setting asks for a setting's value; changed is false where the proposed one is kept.
func (i *interview) setting(path, proposed string) (text string, changed bool, err error) {
	shown := pgname.Visible(proposed)
	if proposed == "" {
		shown = none
	}
	answer, err := i.line(fmt.Sprintf("%s [%s]:", path, shown))
	switch {
	case err != nil, answer == "":
		return "", false, err
	case answer == none:
		return "", proposed != "", nil
	default:
		return answer, answer != proposed, nil
	}
}

// confirm asks for a yes, which an empty answer is.
func (i *interview) confirm(what string) error {
	answer, err := i.line(what + " [Y/n]?")
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "", "y", "yes":
		return nil
	default:
		return errNotWritten
	}
}
