package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication"
)

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
