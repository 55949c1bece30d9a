package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// readFile applies a YAML file. It walks the document's nodes instead of decoding into the struct,
// to know each value's line.
func (l *loader) readFile(path string) error {
	if path == "" {
		return nil
	}
	content, err := l.readSettings(path)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil // only comments
	case err != nil:
		return badYAML(err, path)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return badYAML(err, path)
		}
		l.fault(path, l.at(path, &second), "holds a second document; put everything into one")
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		l.fault(path, l.at(path, root), "must hold settings, as in pipeline: product_embeddings")
		return nil
	}
	l.readSection(path, "", root)
	return nil
}

// readSettings returns what is in a settings file. One of another account is refused, and one that
// another account could change too where no person named this very file; else there is a warning.
func (l *loader) readSettings(path string) ([]byte, error) {
	checked := safefile.Check(path) // before it is read: no other account can change what passes
	content, err := safefile.Read(path, mostSettingsBytes)
	if err == nil {
		err = checked
	}
	problem, open := errors.AsType[*safefile.Error](err)
	switch {
	case open && (problem.Foreign || l.dotEnvConfig != ""):
		return nil, fault.Wrap(problem, fault.Usage, problem.Try, "the settings file %s is not read", path)
	case open:
		l.warn(fault.Wrap(problem, fault.Usage, problem.Try, "another account could change the settings in %s", path))
	case err != nil:
		return nil, unreadable(err, path)
	}
	return content, nil
}

func (l *loader) at(path string, node *yaml.Node) Origin {
	return Origin{Kind: FromFile, File: path, Line: node.Line}
}

// readSection applies the keys of one mapping; prefix is "" or ends with a dot.
func (l *loader) readSection(path, prefix string, section *yaml.Node) {
	seen := map[string]int{}
	for i := 0; i+1 < len(section.Content); i += 2 {
		key, node := section.Content[i], section.Content[i+1]
		name := prefix + key.Value
		o := l.at(path, key)
		if line, twice := seen[name]; twice {
			l.unknown(name, o, "stands twice, first in line "+itoa(line))
			continue
		}
		seen[name] = key.Line
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		l.readNode(path, name, node, o)
	}
	for i := 0; i+1 < len(section.Content); i += 2 {
		name := prefix + section.Content[i].Value
		if s, found := l.find(strings.TrimSuffix(name, "_file")); found && s.path != name && seen[s.path] > 0 {
			l.fault(name, Origin{Kind: FromFile, File: path, Line: seen[name]}, "stands beside "+s.path+"; keep one of them")
		}
	}
}

func (l *loader) readNode(path, name string, node *yaml.Node, o Origin) {
	if s, found := l.find(name); found {
		l.setNode(s, node, o)
		return
	}
	if s, found := l.find(strings.TrimSuffix(name, "_file")); found && s.file {
		if node.Kind != yaml.ScalarNode || node.Value == "" {
			l.fault(name, o, "must be the path of a file")
			return
		}
		l.setFromFile(s, node.Value, o)
		return
	}
	for _, s := range l.settings {
		if !strings.HasPrefix(s.path, name+".") {
			continue
		}
		switch {
		case node.Kind == yaml.MappingNode:
			l.readSection(path, name+".", node)
		case node.Kind != yaml.ScalarNode || node.Tag != "!!null": // a section whose every line is commented out is null
			l.fault(name, o, "is a section: put its settings below it, as in "+s.path)
		}
		return
	}
	l.unknown(name, o, "is not a setting"+didYouMean(name, l.paths()))
}

func (l *loader) setNode(s setting, node *yaml.Node, o Origin) {
	switch {
	case node.Kind == yaml.SequenceNode:
		l.setSequence(s, node, o)
	case node.Kind != yaml.ScalarNode:
		l.setBroken(s, "", o, "takes one value, not a section")
	case node.Tag == "!!null":
		l.setBroken(s, "", o, "has no value; leave the line out to keep the default")
	default:
		l.set(s, node.Value, o)
	}
}

func (l *loader) setSequence(s setting, node *yaml.Node, o Origin) {
	list, ok := s.value.(columns)
	if !ok {
		l.setBroken(s, "", o, "takes one value, not a list")
		return
	}
	items := make([]string, 0, len(node.Content))
	for _, item := range node.Content {
		if item.Kind != yaml.ScalarNode {
			l.setBroken(s, "", o, "takes a list of names")
			return
		}
		if !readable(item.Value) {
			l.setBroken(s, "", o, mustBeReadable)
			return
		}
		items = append(items, item.Value)
	}
	*list.to = items
	l.accept(s, o)
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// badYAML moves the parser's line into the file's name, and drops the one message that quotes the
// file: it may be a password.
func badYAML(err error, path string) error {
	message := err.Error()
	line := ""
	if found := yamlLine.FindStringSubmatch(message); found != nil {
		line, message = ":"+found[1], strings.TrimPrefix(message, found[0])
	}
	message = strings.TrimPrefix(message, "yaml: ")
	if strings.Contains(message, "anchor") {
		message = "names an anchor that is not there; put a value that begins with * or & in quotes"
	}
	return fault.New(fault.Usage, "wal2vec config reference, which shows the form", "configuration: %s%s: %s", path, line, message)
}
