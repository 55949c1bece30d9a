package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/safefile"
	"github.com/wal2vec/wal2vec/models"
)

// Options says what to fetch, and whereto.
type Options struct {
	// Address is the hub's, such as https://huggingface.co; Token is sent to it where it is not
	// empty.
	Address string
	Token   string
	Model   Reference
	// Folder is the folder of checkpoint folders; it is made where it is missing.
	Folder string
	// Name is the name that the checkpoint gets there; empty takes the model's own, without the
	// organisation.
	Name string
	// Replace takes the place of a checkpoint of the same name; otherwise one that is there is an
	// error.
	Replace bool
	// Progress is told of each file as it begins, grows and is whole, by Pull's own goroutine;
	// total is -1 where it is not known.
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

// Pull fetches a checkpoint. It leaves nothing behind where it fails. Errors are of kind
// fault.Usage where the model, the token or the settings are at fault, and fault.Unavailable where
// a later try may go through.
func Pull(ctx context.Context, o Options) (Result, error) {
	c, err := newClient(o.Address, o.Token)
	if err != nil {
		return Result{}, err
	}
	defer c.close()
	return pull(ctx, c, o)
}

func pull(ctx context.Context, c *client, o Options) (Result, error) {
	name := cmp.Or(o.Name, o.Model.Folder())
	target := filepath.Join(o.Folder, name)
	if _, err := os.Lstat(target); err == nil && !o.Replace {
		return Result{}, fault.New(fault.Usage, "wal2vec models pull --replace "+pgname.Shell(o.Model.String()),
			"there is a model %s already: %s", name, target)
	}
	l, err := c.list(ctx, o.Model)
	if err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(o.Folder, 0o755); err != nil {
		return Result{}, fault.Wrap(err, fault.Usage, "export WAL2VEC_HOME=FOLDER, a folder that can be written", "making the folder of models")
	}
	if err := safefile.Check(o.Folder); err != nil {
		return Result{}, safefile.Fault(err, "export WAL2VEC_HOME=FOLDER that this account owns",
			"another account could put a model elsewhere, or another in its place")
	}
	aside, err := os.MkdirTemp(o.Folder, ".pull-*")
	if err != nil {
		return Result{}, fault.Wrap(err, fault.Usage, "export WAL2VEC_HOME=FOLDER, a folder that can be written", "making a folder beside the models")
	}
	defer os.RemoveAll(aside)
	p := &puller{client: c, options: o, listing: l, staged: filepath.Join(aside, name), result: Result{Folder: target}}
	if err := p.openStage(); err != nil {
		return Result{}, err
	}
	defer p.root.Close()
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

// moveInto renames a folder into place. What stands there goes aside first, and comes back if the
// second step fails.
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
	// staged is the folder that the files come into; root is the same, opened so that no name leads
	// out of it.
	staged string
	root   *os.Root
	result Result
	names  []string
}

func (p *puller) openStage() error {
	err := os.Mkdir(p.staged, 0o755)
	if err == nil {
		p.root, err = os.OpenRoot(p.staged)
	}
	if err != nil {
		return fmt.Errorf("making a folder for the model: %w", err)
	}
	return nil
}

func (p *puller) fetchAll(ctx context.Context) error {
	if err := p.fetchSmall(ctx); err != nil {
		return err
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
		if err := p.fetch(ctx, weights); err != nil {
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
	if err := p.checkTotal(files); err != nil {
		return err
	}
	for _, f := range files {
		if err := p.fetch(ctx, f); err != nil {
			return err
		}
	}
	_, err = models.Open(p.staged)
	return p.named(err)
}

// fetchSmall fetches what says what the model is.
func (p *puller) fetchSmall(ctx context.Context) error {
	for _, f := range p.listing.small() {
		if err := p.fetch(ctx, f); err != nil {
			return err
		}
	}
	if !p.listing.has(modulesFile) {
		return nil
	}
	var modules []struct {
		Path string `json:"path"`
	}
	if err := p.readJSON(modulesFile, &modules); err != nil {
		return err
	}
	folders := make([]string, len(modules))
	for i, m := range modules {
		folders[i] = m.Path
	}
	files, err := p.listing.modules(p.options.Model, folders)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := p.fetch(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// checkTotal refuses a model whose listed sizes are too much together, before its weights are
// fetched.
func (p *puller) checkTotal(files []file) error {
	left := p.client.most - p.result.Bytes
	for _, f := range files {
		if f.Size == nil {
			continue
		}
		if *f.Size > left {
			return p.tooMuch()
		}
		left -= *f.Size
	}
	return nil
}

func (p *puller) tooMuch() error {
	return fault.New(fault.Usage, "choose another model", "the files of model %s have more than %d bytes together", p.options.Model, p.client.most)
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
	data, err := p.root.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fault.New(fault.Usage, "choose another model", "%s of model %s is not valid: %v", name, p.options.Model, err)
	}
	return nil
}
