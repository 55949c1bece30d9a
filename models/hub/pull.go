package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/models"
)

// Options says what to fetch, and whereto.
type Options struct {
	// Address is the hub's, such as https://huggingface.co; Token is sent to it where it is not empty.
	Address string
	Token   string
	Model   Reference
	// Folder is the folder of checkpoint folders; it is made where it is missing.
	Folder string
	// Replace takes the place of a checkpoint of the same name; otherwise one that is there is an error.
	Replace bool
	// Progress is told of each file as it begins, grows and is whole, by Pull's own goroutine; total is -1 where it is not known.
	Progress func(file string, done, total int64)
}

// Result says what was fetched.
type Result struct {
	// Folder is the checkpoint's.
	Folder string
	// Commit is the one that the revision stood for; empty where the hub does not say.
	Commit string
	Files  int
	Bytes  int64
	// Checkpoint is the model, opened.
	Checkpoint *models.Checkpoint
}

// Pull fetches a checkpoint. It leaves nothing behind where it fails. Errors are of kind fault.Usage where the model, the token or the
// settings are at fault, and fault.Unavailable where a later try may go through.
func Pull(ctx context.Context, o Options) (Result, error) {
	c, err := newClient(o.Address, o.Token)
	if err != nil {
		return Result{}, err
	}
	defer c.close()
	return pull(ctx, c, o)
}

func pull(ctx context.Context, c *client, o Options) (Result, error) {
	target := filepath.Join(o.Folder, o.Model.Folder())
	if _, err := os.Lstat(target); err == nil && !o.Replace {
		return Result{}, fault.New(fault.Usage, "wal2vec models pull --replace "+pgname.Shell(o.Model.String()),
			"there is a model %s already: %s", o.Model.Folder(), target)
	}
	l, err := c.list(ctx, o.Model)
	if err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(o.Folder, 0o755); err != nil {
		return Result{}, fault.Wrap(err, fault.Usage, "export WAL2VEC_HOME=FOLDER, a folder that can be written", "making the folder of models")
	}
	aside, err := os.MkdirTemp(o.Folder, ".pull-*")
	if err != nil {
		return Result{}, fault.Wrap(err, fault.Usage, "export WAL2VEC_HOME=FOLDER, a folder that can be written", "making a folder beside the models")
	}
	defer os.RemoveAll(aside)
	p := &puller{client: c, options: o, listing: l, staged: filepath.Join(aside, o.Model.Folder()), result: Result{Folder: target}}
	if commitForm.MatchString(l.Commit) {
		p.result.Commit = l.Commit
	}
	if err := p.fetchAll(ctx); err != nil {
		return Result{}, err
	}
	if err := moveInto(target, p.staged, aside); err != nil {
		return Result{}, fmt.Errorf("putting the model in its place: %w", err)
	}
	// Its folder has another name now, its content is what was checked.
	if p.result.Checkpoint, err = models.Open(target); err != nil {
		return Result{}, err
	}
	return p.result, nil
}

// moveInto renames a folder into place. What stands there goes aside first, and comes back if the second step fails.
func moveInto(target, staged, aside string) error {
	old := filepath.Join(aside, "old")
	err := os.Rename(target, old)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	replaced := err == nil
	if err := os.Rename(staged, target); err != nil {
		if replaced {
			err = errors.Join(err, os.Rename(old, target))
		}
		return err
	}
	return nil
}

// puller fetches the files of one model.
type puller struct {
	client  *client
	options Options
	listing listing
	// staged is the folder that the files come into.
	staged string
	result Result
}

func (p *puller) fetchAll(ctx context.Context) error {
	for _, f := range p.listing.small() {
		if err := p.fetch(ctx, f, maxSmallBytes); err != nil {
			return err
		}
	}
	var config struct {
		ModelType string `json:"model_type"`
	}
	if err := p.readJSON(configFile, &config); err != nil {
		return err
	}
	weights, err := p.listing.weights(p.options.Model, config.ModelType)
	if err != nil {
		return err
	}
	if models.Writes(config.ModelType) && weights.Name == weightsFile {
		// Most refusals show here, before the weights are fetched.
		if _, err := models.Open(p.staged); err != nil && !errors.Is(err, models.ErrNoWeights) {
			return p.named(err)
		}
	}
	files := []file{weights}
	if weights.Name == indexFile {
		if err := p.fetch(ctx, weights, maxSmallBytes); err != nil {
			return err
		}
		var index struct {
			Files map[string]string `json:"weight_map"`
		}
		if err := p.readJSON(indexFile, &index); err != nil {
			return err
		}
		if files, err = p.listing.shards(p.options.Model, index.Files); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := p.fetch(ctx, f, 0); err != nil {
			return err
		}
	}
	_, err = models.Open(p.staged)
	return p.named(err)
}

// named puts the model's name into an error where the folder that it is in for now stands.
func (p *puller) named(err error) error {
	if err == nil {
		return nil
	}
	return &fault.Error{
		Kind: fault.KindOf(err), Try: "choose another model",
		What: strings.ReplaceAll(err.Error(), p.staged, p.options.Model.String()),
	}
}

func (p *puller) readJSON(name string, into any) error {
	data, err := os.ReadFile(filepath.Join(p.staged, name))
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fault.New(fault.Usage, "choose another model", "%s of model %s is not valid: %v", name, p.options.Model, err)
	}
	return nil
}

// fetch fetches one file and compares it with all that the hub says of it. limit bounds its bytes; 0 leaves that to the hub.
func (p *puller) fetch(ctx context.Context, f file, limit int64) error {
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
	size := a.size
	if f.Size != nil {
		size = *f.Size
	}
	if limit > 0 && size > limit {
		return fault.New(fault.Usage, "choose another model", "%s of model %s has %d bytes, more than %d", f.Name, p.options.Model, size, limit)
	}
	path := filepath.Join(p.staged, filepath.FromSlash(f.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making a folder for %s: %w", f.Name, err)
	}
	sum, written, err := p.write(path, f.Name, a.body, size, limit)
	if err != nil {
		return err
	}
	for _, want := range []string{f.sha256(), a.hash} {
		if want != "" && !strings.EqualFold(want, sum) {
			return fault.New(fault.Unavailable, "wal2vec models pull, again", "%s of model %s came damaged: its SHA-256 is %s, the hub says %s",
				f.Name, p.options.Model, sum, strings.ToLower(want))
		}
	}
	p.result.Files++
	p.result.Bytes += written
	return nil
}

// write copies a body into a new file and returns its SHA-256 in hex.
func (p *puller) write(path, name string, body io.Reader, size, limit int64) (sum string, written int64, err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", 0, fmt.Errorf("writing %s: %w", name, err)
	}
	defer out.Close()
	report := func(done int64) {
		if p.options.Progress != nil {
			p.options.Progress(name, done, size)
		}
	}
	report(0)
	hash := sha256.New()
	buffer := make([]byte, 1<<20)
	for {
		n, err := body.Read(buffer)
		if written += int64(n); size >= 0 && written > size || limit > 0 && written > limit {
			return "", 0, p.wrongSize(name, size, written)
		}
		_, _ = hash.Write(buffer[:n]) // never fails
		if _, err := out.Write(buffer[:n]); err != nil {
			return "", 0, fmt.Errorf("writing %s: %w", name, err)
		}
		if n > 0 {
			report(written)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", 0, p.client.lost(err, p.options.Model, name)
		}
	}
	if size >= 0 && written != size {
		return "", 0, p.wrongSize(name, size, written)
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return "", 0, fmt.Errorf("writing %s: %w", name, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), written, nil
}

func (p *puller) wrongSize(name string, want, got int64) error {
	if want < 0 {
		return fault.New(fault.Usage, "choose another model", "%s of model %s is larger than %d bytes", name, p.options.Model, int64(maxSmallBytes))
	}
	if got > want {
		return fault.New(fault.Unavailable, "wal2vec models pull, again", "%s of model %s came damaged: it has more than %d bytes",
			name, p.options.Model, want)
	}
	return fault.New(fault.Unavailable, "wal2vec models pull, again", "%s of model %s came damaged: only %d bytes instead of %d",
		name, p.options.Model, got, want)
}
