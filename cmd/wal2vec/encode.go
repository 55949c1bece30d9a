package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// encodeWindow is how many lines are read before they are encoded together; the output of a line
// waits for its window. Input that comes slowly is not held back: a window ends where no more has
// arrived.
const encodeWindow = 1024

func newEncode(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "encode", Short: "Encode standard input, one text a line, one JSON array a line", GroupID: "look", Args: cobra.NoArgs,
		Long: "Read one text a line from standard input and write one JSON array of its vector's components a line. An empty line has a\n" +
			"vector too. No database is needed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			e, err := p.opener(c).Open(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer e.Close()
			return encodeLines(cmd.Context(), e, p.stdin, p.stdout)
		},
	}
}

type textEncoder interface {
	Encode(ctx context.Context, texts []string) ([][]float32, error)
}

func encodeLines(ctx context.Context, e textEncoder, in io.Reader, out io.Writer) error {
	reader := bufio.NewReaderSize(in, 1<<16)
	writer := bufio.NewWriter(out)
	for {
		texts, err := readLines(reader)
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return fmt.Errorf("reading standard input: %w", err)
		}
		vectors, err := e.Encode(ctx, texts)
		if err != nil {
			return err
		}
		for _, v := range vectors {
			line, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("printing a vector: %w", err)
			}
			_, _ = writer.Write(append(line, '\n')) // Flush reports
		}
		if err := writer.Flush(); err != nil {
			return fmt.Errorf("printing vectors: %w", err)
		}
		if last {
			return nil
		}
	}
}

// readLines reads a window of lines; io.EOF comes with the last.
func readLines(reader *bufio.Reader) ([]string, error) {
	var texts []string
	for len(texts) < encodeWindow {
		line, err := reader.ReadString('\n')
		if err == nil || line != "" {
			texts = append(texts, strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
		}
		if err != nil {
			return texts, err
		}
		if reader.Buffered() == 0 {
			break
		}
	}
	return texts, nil
}
