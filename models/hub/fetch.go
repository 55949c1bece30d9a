package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// fetch fetches one file and compares it with all that the hub says of it.
func (p *puller) fetch(ctx context.Context, f file) error {
	if err := p.claim(f.Name); err != nil {
		return err
	}
	revision := p.options.Model.Revision
	if p.result.Commit != "" {
		revision = p.result.Commit
	}
	source := p.client.base.JoinPath(p.options.Model.Name, "resolve", url.PathEscape(revision), f.Name)
	a, err := p.client.get(ctx, source, p.options.Model, f.Name)
	if err != nil {
		return err
	}
	defer a.close()
	b := bounds{size: a.size, most: mostOf(f.Name), left: p.client.most - p.result.Bytes}
	if f.Size != nil {
		b.size = *f.Size
	}
	if b.size > b.most || b.size > b.left {
		return p.wrongSize(f.Name, b, b.size)
	}
	written, err := p.write(f.Name, a, b, a.checksums(f))
	if err != nil {
		return err
	}
	p.result.Files++
	p.result.Bytes += written
	return nil
}

// deviceName matches names that some systems take for a device.
var deviceName = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)`)

// claim refuses a name that some system cannot hold beside those before it: names that differ in
// case alone, a folder with a file's name, a device's name, or an end that is cut off.
func (p *puller) claim(name string) error {
	folded := strings.ToLower(name)
	for part := range strings.SplitSeq(folded, "/") {
		if deviceName.MatchString(part) || strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") {
			return fault.New(fault.Usage, "choose another model", "%.100q of model %s has a name that not every system can keep", name, p.options.Model)
		}
	}
	for _, other := range p.names {
		had := strings.ToLower(other)
		if had == folded || strings.HasPrefix(had, folded+"/") || strings.HasPrefix(folded, had+"/") {
			return fault.New(fault.Usage, "choose another model", "%.100q and %.100q of model %s cannot stand beside one another",
				other, name, p.options.Model)
		}
	}
	p.names = append(p.names, name)
	return nil
}

// bounds are those of one file in bytes: size is what the hub says, -1 where it says nothing, most
// what its kind may have, left what all files of the model may still have.
type bounds struct{ size, most, left int64 }

// passed reports whether so many bytes are too many.
func (b bounds) passed(n int64) bool { return b.size >= 0 && n > b.size || n > b.most || n > b.left }

// write copies a body into a new file and compares it with its checksums.
func (p *puller) write(name string, a answer, b bounds, want []checksum) (written int64, err error) {
	local := filepath.FromSlash(name)
	if err := p.root.MkdirAll(filepath.FromSlash(path.Dir(name)), 0o755); err != nil {
		return 0, fmt.Errorf("making a folder for %s: %w", name, err)
	}
	out, err := p.root.OpenFile(local, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, fmt.Errorf("writing %s: %w", name, err)
	}
	defer out.Close()
	if written, err = p.copy(out, name, a.body, b); err != nil {
		return 0, err
	}
	for _, sum := range want {
		got, err := sum.of(out)
		if err != nil {
			return 0, fmt.Errorf("hashing %s: %w", name, err)
		}
		if got != sum {
			return 0, fault.New(fault.Unavailable, "wal2vec models pull again", "%s of model %s came damaged: its %s is %s, the hub says %s",
				name, p.options.Model, sum.kind(), got, sum)
		}
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return 0, fmt.Errorf("writing %s: %w", name, err)
	}
	return written, nil
}

// copy writes a body until it ends or passes a bound.
func (p *puller) copy(out io.Writer, name string, body io.Reader, b bounds) (written int64, err error) {
	report := func(done int64) {
		if p.options.Progress != nil {
			p.options.Progress(name, done, b.size)
		}
	}
	report(0)
	buffer := make([]byte, 1<<20)
	for {
		n, err := body.Read(buffer)
		if written += int64(n); b.passed(written) {
			return 0, p.wrongSize(name, b, written)
		}
		if _, err := out.Write(buffer[:n]); err != nil {
			return 0, fmt.Errorf("writing %s: %w", name, err)
		}
		if n > 0 {
			report(written)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, p.client.lost(err, p.options.Model, name)
		}
	}
	if b.size >= 0 && written != b.size {
		return 0, p.wrongSize(name, b, written)
	}
	return written, nil
}

func (p *puller) wrongSize(name string, b bounds, got int64) error {
	switch {
	case got > b.most:
		return fault.New(fault.Usage, "choose another model", "%s of model %s has more than %d bytes, the most that such a file may have",
			name, p.options.Model, b.most)
	case got > b.left:
		return p.tooMuch()
	case got > b.size:
		return fault.New(fault.Unavailable, "wal2vec models pull again", "%s of model %s came damaged: it has more than %d bytes",
			name, p.options.Model, b.size)
	default:
		return fault.New(fault.Unavailable, "wal2vec models pull again", "%s of model %s came damaged: only %d bytes instead of %d",
			name, p.options.Model, got, b.size)
	}
}
