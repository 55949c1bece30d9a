package sql

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"text/template"
)

//go:embed migrations/*.sql queries/*.sql
var files embed.FS

// Query returns the text of queries/NAME.sql. It panics when there is no such file: names are
// constants.
func Query(name string) string {
	text, err := files.ReadFile("queries/" + name + ".sql")
	if err != nil {
		panic(fmt.Sprintf("sql: no query %q", name))
	}
	return strings.TrimSpace(string(text))
}

// Render fills the template queries/NAME.sql with data. A field that data lacks is an error.
func Render(name string, data any) (string, error) {
	return render(name, Query(name), data)
}

// Migration is one numbered step of wal2vec's own schema.
type Migration struct {
	// Name is the file's name without its ending: "001_pipeline".
	Name string
	// Text is a template; see Render.
	Text string
}

// Migrations returns the steps in order; step i brings the schema to version i+1.
func Migrations() []Migration {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		panic(fmt.Sprintf("sql: listing migrations: %v", err)) // the pattern is constant
	}
	steps := make([]Migration, 0, len(names))
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			panic(fmt.Sprintf("sql: reading %s: %v", name, err))
		}
		steps = append(steps, Migration{Name: strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql"), Text: strings.TrimSpace(string(text))})
	}
	return steps
}

// Render fills the step's template with data.
func (m Migration) Render(data any) (string, error) { return render(m.Name, m.Text, data) }

var functions = template.FuncMap{
	"join": strings.Join,
	"inc":  func(i int) int { return i + 1 },
	"add":  func(i, j int) int { return i + j },
	// query puts the text of another query into this one: a rule that several of them go by stands
	// in one file.
	"query": Query,
}

// parsed has the templates that were rendered before, by their text: a sink renders a dozen for
// each generation that a server names.
var parsed sync.Map

func parse(name, text string) (*template.Template, error) {
	known, _ := parsed.Load(text)
	if t, ok := known.(*template.Template); ok {
		return t, nil
	}
	t, err := template.New(name).Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing query %s: %w", name, err)
	}
	parsed.Store(text, t)
	return t, nil
}

func render(name, text string, data any) (string, error) {
	t, err := parse(name, text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("rendering query %s: %w", name, err)
	}
	return b.String(), nil
}
