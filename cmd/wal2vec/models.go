package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/encoder"
	"github.com/wal2vec/wal2vec/encoder/ort"
	"github.com/wal2vec/wal2vec/internal/assets"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/models"
)

func newModels(p *program) *cobra.Command {
	cmd := &cobra.Command{Use: "models", Short: "List, fetch, build and check models", GroupID: "manage"}
	cmd.AddCommand(newModelsList(p), newModelsPull(p), newModelsBuild(p), newModelsCheck(p), newModelsTry(p))
	return cmd
}

// builtModel is what models build reports; its JSON names are a contract.
type builtModel struct {
	models.Manifest
	Path  string `json:"path"`
	Built bool   `json:"built"`
}

func newModelsBuild(p *program) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "build [MODEL]", Short: "Write the ONNX graph of a checkpoint into the cache", Args: cobra.MaximumNArgs(1),
		Long: "Write the ONNX graph of a checkpoint (a folder in Hugging Face form, or a name among the parts) into the cache, unless a\n" +
			"whole one is there: the one for --device (auto: the CPU) and --precision. Other commands do this by themselves.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			c, parts, checkpoint, err := p.checkpoint(args)
			if err != nil {
				return err
			}
			target, without, err := plannedTarget(c, parts, checkpoint)
			if err != nil {
				return err
			}
			engine.WarnWithoutOperators(p.logger(c.Log), without)
			graph, err := models.Build(cmd.Context(), checkpoint, parts.GraphCache, target)
			if err == nil {
				err = engine.Unkept(parts, graph)
			}
			if err != nil {
				return err
			}
			engine.WarnOfGraphs(p.logger(c.Log), parts, graph)
			if output == "json" {
				return printJSON(p.stdout, builtModel{Manifest: graph.Manifest, Path: graph.Path, Built: graph.Built})
			}
			word := "in the cache"
			if graph.Built {
				word = "built"
			}
			_, err = fmt.Fprintf(p.stdout, "%s %s (%s): %s\n", checkpoint.Name(), word, target, graph.Path)
			return err
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// plannedTarget is the graph that an encoder would take here, where the device is named; see
// ort.Target.
func plannedTarget(c config.Config, parts assets.Parts, checkpoint *models.Checkpoint) (t models.Target, without, err error) {
	device := c.Encoder.Device
	if device == change.DeviceAuto {
		device = change.DeviceCPU
	}
	return ort.Target(device, engine.PrecisionOf(c, checkpoint), engine.OperatorsFor(parts, checkpoint))
}

// checkpoint opens the model that a command names, or the configured one.
func (p *program) checkpoint(args []string) (config.Config, assets.Parts, *models.Checkpoint, error) {
	c, err := p.load()
	if err != nil {
		return c, assets.Parts{}, nil, err
	}
	if len(args) == 1 {
		c.Encoder.Model = args[0]
	}
	parts, err := connect.FindParts()
	if err != nil {
		return c, parts, nil, err
	}
	checkpoint, err := engine.OpenCheckpoint(parts, c)
	return c, parts, checkpoint, err
}

// checkedModel is what models check reports; its JSON names are a contract.
type checkedModel struct {
	Model       string `json:"model"`
	Fingerprint string `json:"fingerprint"`
	Device      string `json:"device"`
	Precision   string `json:"precision"`
	Kernel      string `json:"kernel"`
	Tokenizer   string `json:"tokenizer"`
	Dimension   int    `json:"dimension"`
	// Texts are the reference texts, Tokens those of them all, special tokens included.
	Texts     int     `json:"texts"`
	Tokens    uint64  `json:"tokens"`
	PerSecond float64 `json:"tokens_per_second"`
	// LeastCosine is to the stored vectors; null for a model without any.
	LeastCosine *float64 `json:"least_cosine"`
}

func newModelsCheck(p *program) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "check [MODEL]", Short: "Load a model and encode the reference texts with it", Args: cobra.MaximumNArgs(1),
		Long: "Load a model, run its self-test, and encode the reference texts. Where the program has stored vectors of the model, the least\n" +
			"cosine to them is printed too. The graph is made from the checkpoint once more, and must be the one in the cache, byte for byte.\n" +
			"No database is needed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				c.Encoder.Model = args[0]
			}
			e, err := p.opener(c).Open(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer e.Close()
			checked, err := checkModel(cmd.Context(), e)
			if err != nil {
				return err
			}
			if err := models.Verify(cmd.Context(), e.Checkpoint, e.Graph); err != nil {
				return err
			}
			if output == "json" {
				return printJSON(p.stdout, checked)
			}
			cosine := ""
			if checked.LeastCosine != nil {
				cosine = fmt.Sprintf(", least cosine to the stored vectors %.7f", *checked.LeastCosine)
			}
			_, err = fmt.Fprintf(p.stdout, "%s: ok (%s, %s, %s operators, tokenizer %s, dimension %d, fingerprint %s)\n"+
				"%d reference texts, %d tokens, %.0f tokens a second%s\n",
				checked.Model, checked.Device, checked.Precision, checked.Kernel, checked.Tokenizer, checked.Dimension, checked.Fingerprint,
				checked.Texts, checked.Tokens, checked.PerSecond, cosine)
			return err
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// checkModel encodes the reference texts as passages.
func checkModel(ctx context.Context, e *engine.Engine) (checkedModel, error) {
	references := encoder.References(e.Checkpoint.Fingerprint())
	texts := make([]string, len(references))
	for i, r := range references {
		texts[i] = r.Text
	}
	before := e.Stats()
	vectors, err := e.Encode(ctx, texts)
	if err != nil {
		return checkedModel{}, err
	}
	after := e.Stats()
	least := 1.0
	for i, v := range vectors {
		if stored := references[i].Vector; len(stored) == len(v) {
			least = min(least, change.Cosine(v, stored))
		}
		if length := change.Length(v); math.IsNaN(length) || math.IsInf(length, 0) {
			return checkedModel{}, fault.New(fault.Model, "wal2vec models build, or choose another device", "the vector of %.60q is not finite", texts[i])
		}
	}
	c := checkedModel{
		Model: e.Checkpoint.Name(), Fingerprint: e.Checkpoint.Fingerprint(), Device: after.Device, Precision: e.Precision, Kernel: e.Kernel,
		Tokenizer: e.Tokenizer, Dimension: e.Dimension(),
		Texts: len(texts), Tokens: after.Tokens - before.Tokens,
	}
	if c.PerSecond, err = encodingSpeed(ctx, e, texts); err != nil {
		return checkedModel{}, err
	}
	if references[0].Vector != nil {
		c.LeastCosine = &least
	}
	return c, nil
}

// encodingSpeed encodes texts again and again for a second, and returns the tokens a second. The
// texts have been encoded before: the first pass pays for memory and for what the runtime prepares
// by shape, which can take longer than the encoding.
func encodingSpeed(ctx context.Context, e *engine.Engine, texts []string) (float64, error) {
	before, begun := e.Stats(), time.Now()
	for {
		if _, err := e.Encode(ctx, texts); err != nil {
			return 0, err
		}
		if took := time.Since(begun); took >= time.Second {
			return monitor.PerSecond(int64(e.Stats().Tokens-before.Tokens), took), nil
		}
	}
}
