package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// program is what every command shares.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	configFile string
	flags      []config.Flag // settings given as flags, in their order
	set        []string      // --set PATH=VALUE
	warned     bool          // of what the configuration warns of
	overlooked bool          // a settings file lies here, and no configuration was named

	shared *engine.Engine // the encoder of commands that run in one process (demo, bench); nil: each opens its own
}

func newRoot(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:   "wal2vec",
		Short: "Keep embeddings in step with a Postgres table",
		Long: "wal2vec streams a Postgres table's changes from the write-ahead log, encodes the texts in process, and commits vectors\n" +
			"and the replication position together in pgvector.\n\n" + exitCodes,
		Version:       buildVersion().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(misread)
	root.SetVersionTemplate(buildVersion().line())
	root.Flags().Bool("version", false, "print the version") // cobra's own would take -v
	flags := root.PersistentFlags()
	flags.StringVar(&p.configFile, "config", "", "YAML file of settings [env: WAL2VEC_CONFIG]")
	flags.StringArrayVar(&p.set, "set", nil, "set any setting: --set source.table=shop.product (see config reference)")
	p.settingFlags(flags)
	root.AddGroup(&cobra.Group{ID: "work", Title: "Work:"}, &cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "manage", Title: "Manage:"})
	root.AddCommand(
		newInit(p), newStream(p), newBackfill(p), newDemo(p),
		newSearch(p), newStatus(p), newAudit(p), newDoctor(p), newDeadLetter(p), newEncode(p), newBench(p),
		newModels(p), newGeneration(p), newConfig(p), newTeardown(p), newVersion(p),
	)
	root.InitDefaultCompletionCmd()
	helpful(root)
	strict(root)
	return root
}

// shortFlags are the settings with a flag of their own in --help; every other setting has one too,
// spelt like its path.
var shortFlags = map[string]string{
	"source.dsn": "source", "sink.dsn": "sink", "source.table": "table", "pipeline": "pipeline", "encoder.device": "device",
	"encoder.model": "model", "log.level": "log-level", "log.format": "log-format", "http.listen": "listen",
}

func (p *program) settingFlags(flags *pflag.FlagSet) {
	for _, s := range config.Settings() {
		name, short := shortFlags[s.Path]
		if !short {
			name = strings.NewReplacer(".", "-", "_", "-").Replace(s.Path)
		}
		flags.Var(&settingFlag{program: p, name: "--" + name, path: s.Path}, name, s.Help+" [env: "+s.Env+"]")
		if !short {
			flags.Lookup(name).Hidden = true
		}
	}
}

// settingFlag hands a flag's text to the configuration, which knows its form and its rule.
type settingFlag struct {
	program    *program
	name, path string
}

// String is empty: the default is the configuration's to tell.
func (f *settingFlag) String() string { return "" }

// Type is what the help calls the flag's argument.
func (f *settingFlag) Type() string { return "value" }

// Set keeps the text, which is read with all other settings.
func (f *settingFlag) Set(value string) error {
	f.program.flags = append(f.program.flags, config.Flag{Name: f.name, Path: f.path, Value: value})
	return nil
}

// load reads the configuration from every source.
func (p *program) load() (config.Config, error) { return p.loadFrom(nil) }

// loadFrom is load from sources that are changed before; a nil change changes nothing.
func (p *program) loadFrom(change func(*config.Sources)) (config.Config, error) {
	flags := p.flags
	for _, s := range p.set {
		path, value, found := strings.Cut(s, "=")
		if !found {
			return config.Config{}, fault.New(fault.Usage, "--set source.table=shop.product", "--set %s: no equals sign", config.Spelt(s))
		}
		flags = append(flags, config.Flag{Name: "--set", Path: path, Value: value})
	}
	sources := config.Sources{File: p.configFile, Env: config.Environ(os.Environ()), DotEnv: ".env", Flags: flags}
	if change != nil {
		change(&sources)
	}
	c, err := config.Load(sources)
	p.overlooked = overlooks(c)
	p.warn(c, flags)
	return c, err
}

// overlooks reports whether config init's file lies in this folder, where no other account can
// change it, the settings come from no file, and table or pipeline are the default ones.
func overlooks(c config.Config) bool {
	unset := func(path string) bool { return c.Origin(path).Kind == config.FromDefault }
	for _, s := range config.Settings() {
		if c.Origin(s.Path).Kind == config.FromFile {
			return false
		}
	}
	return safefile.Check(settingsFile) == nil && (unset("source.table") || unset("pipeline"))
}

// useStarter is what to do where a table or a pipeline is not there and the settings file was
// overlooked.
const useStarter = `export WAL2VEC_CONFIG="$PWD/` + settingsFile + `"  # if this file is yours: no command reads it until it is named`

// warn prints what the configuration warns of, once; a command may load it several times.
func (p *program) warn(c config.Config, flags []config.Flag) {
	if p.warned {
		return
	}
	p.warned = true
	log := p.logger(c.Log)
	for _, warning := range c.Warnings() {
		log.Warn().Str("try", fault.Try(warning)).Msg(warning.Error())
	}
	p.warnOfExposed(c.Log, flags)
}

// warnOfExposed says which secrets stand on the command line, also where the settings do not load:
// they were seen by then.
func (p *program) warnOfExposed(c config.Log, flags []config.Flag) {
	for _, f := range config.Exposed(flags) {
		name := f.Name
		if name == "--set" {
			name += " " + f.Path
		}
		log := p.logger(c)
		log.Warn().Str("flag", name).
			Str("try", fmt.Sprintf("write it into a file that you alone can read, and give --set %s_file=FILE, or %s_FILE=FILE in the environment",
				f.Path, config.Variable(f.Path))).
			Msg("other users of this machine can read a password or token of this flag in the list of processes")
	}
}

// opener opens the encoders that a command needs.
func (p *program) opener(c config.Config) engine.Opener {
	return engine.Opener{Log: p.logger(c.Log), Shared: p.shared, Trials: true}
}

// logger writes to standard error in the configured form.
func (p *program) logger(c config.Log) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel // Load has checked it
	}
	out := forJSON(p.stderr)
	if c.Format == "console" || (c.Format == "auto" && isTerminal(p.stderr)) {
		out = zerolog.ConsoleWriter{
			Out: unscreened(p.stderr), TimeFormat: "15:04:05", NoColor: !isTerminal(p.stderr) || os.Getenv("NO_COLOR") != "",
			FieldsExclude: []string{"try"}, FormatPrepare: visibleFields, FormatExtra: writeTry,
		}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}

// writeTry puts what a message says to do on a line of its own, as it is: among the other fields it
// would be quoted once more, and what is pasted from there would be something else.
func writeTry(fields map[string]any, line *bytes.Buffer) error {
	if try, ok := fields["try"].(string); ok && try != "" {
		line.WriteString("\n         try: " + advice(try))
	}
	return nil
}

func isTerminal(w any) bool {
	if s, ok := w.(*screen); ok {
		w = s.out
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
