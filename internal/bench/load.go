package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// load is work beside what is measured.
type load struct {
	// stop ends it and says what it did.
	stop func() (loadDone, error)
}

// loadDone is what a load did between its first text and its end.
type loadDone struct {
	Texts   uint64  `json:"texts_encoded"`
	Seconds float64 `json:"duration_seconds"`
}

// loadTexts is how many texts a load encodes, again and again.
const loadTexts = 8000

// startEncoding has this process encode without end, as a backfill does.
func (b *bench) startEncoding(ctx context.Context, _ string) (load, error) {
	e, err := b.opener().Open(ctx, b.mart.Config)
	if err != nil {
		return load{}, err
	}
	options := Options{Rows: min(loadTexts, b.options.Rows), Data: b.options.Data}
	texts, _, err := options.texts()
	if err != nil {
		return load{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	begun, ended := make(chan struct{}), make(chan error, 1)
	e.Encoder = announcing{e.Encoder, sync.OnceFunc(func() { close(begun) })}
	w := &worker{engine: e, begun: time.Now()}
	go func() { ended <- w.encode(ctx, texts, b.encodingOptions(e)) }()
	select {
	case <-begun:
	case err := <-ended:
		cancel()
		return load{}, fmt.Errorf("starting the load: %w", errors.Join(err, errNoLoad))
	}
	return load{stop: func() (loadDone, error) {
		cancel()
		err := <-ended
		return w.done(), err
	}}, nil
}

// worker encodes until it is told to stop.
type worker struct {
	engine *engine.Engine
	texts  atomic.Uint64
	begun  time.Time
}

func (w *worker) encode(ctx context.Context, texts []string, o encodingOptions) error {
	for ctx.Err() == nil {
		if err := encodeAll(ctx, countingEncoder{w.engine, &w.texts}, texts, o, nil); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (w *worker) done() loadDone {
	return loadDone{Texts: w.texts.Load(), Seconds: time.Since(w.begun).Seconds()}
}

// countingEncoder counts the texts of the calls that ended well.
type countingEncoder struct {
	batchEncoder
	texts *atomic.Uint64
}

// Encode encodes, and counts.
func (c countingEncoder) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	vectors, err := c.batchEncoder.Encode(ctx, texts)
	if err == nil {
		c.texts.Add(uint64(len(texts)))
	}
	return vectors, err
}

// announcing says when the first call has ended well: from then on there is load, and never none to
// be counted.
type announcing struct {
	engine.Encoder
	say func()
}

// Encode encodes, and says so once.
func (a announcing) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	vectors, err := a.Encoder.Encode(ctx, texts)
	if err == nil {
		a.say()
	}
	return vectors, err
}

// loadOrder is what a process that makes load is told on its standard input, which it works until
// the end of.
type loadOrder struct {
	Kind    string         `json:"kind"`
	Encoder config.Encoder `json:"encoder"`
	DSN     string         `json:"dsn"`
	Data    string         `json:"data"`
	Rows    int            `json:"rows"`
}

// loadReady is the line with which the process says that it works.
const loadReady = "ready\n"

// startNeighbour has another process of this program work at the lowest priority.
func (b *bench) startNeighbour(ctx context.Context, kind string) (load, error) {
	program, err := os.Executable()
	if b.options.LoadProgram != "" {
		program, err = b.options.LoadProgram, nil
	}
	if err != nil {
		return load{}, fmt.Errorf("finding this program: %w", err)
	}
	order, err := json.Marshal(loadOrder{ //nolint:musttag // both ends are this program
		Kind: kind, Encoder: b.encoder, DSN: b.mart.Config.Source.DSN.Reveal(), Data: b.options.Data, Rows: min(loadTexts, b.options.Rows),
	})
	if err != nil {
		return load{}, fmt.Errorf("telling the load what to do: %w", err)
	}
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", program, "bench", "load") //nolint:gosec // this program itself
	n := &neighbour{cmd: cmd, log: &bytes.Buffer{}}
	cmd.Stderr = n.log
	if n.in, err = cmd.StdinPipe(); err != nil {
		return load{}, fmt.Errorf("starting the load: %w", err)
	}
	if n.out, err = cmd.StdoutPipe(); err != nil {
		return load{}, fmt.Errorf("starting the load: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return load{}, fault.Wrap(err, fault.Usage, "bench search --load same-process", "starting the load")
	}
	_, _ = n.in.Write(append(order, '\n')) // one that is gone answers nothing
	answer := make([]byte, len(loadReady))
	if _, err := io.ReadFull(n.out, answer); err != nil || string(answer) != loadReady {
		_, err := n.stop()
		return load{}, fmt.Errorf("starting the load: %w", errors.Join(err, errNoLoad))
	}
	return load{stop: n.stop}, nil
}

var errNoLoad = errors.New("it does not work")

// neighbour is another process that makes load.
type neighbour struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
	log *bytes.Buffer
}

// stop ends the process and returns its last word.
func (n *neighbour) stop() (loadDone, error) {
	_ = n.in.Close()
	answer, _ := io.ReadAll(n.out) // Wait reports
	if err := n.cmd.Wait(); err != nil {
		return loadDone{}, fmt.Errorf("the load ended early: %w: %s", err, strings.TrimSpace(n.log.String()))
	}
	var done loadDone
	if err := json.Unmarshal(answer, &done); err != nil {
		return done, fmt.Errorf("reading what the load did: %w", err)
	}
	return done, nil
}

// MakeLoad reads from in what it is to do, and works until that ends.
func MakeLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	var order loadOrder
	if err := json.NewDecoder(in).Decode(&order); err != nil { //nolint:musttag // both ends are this program
		return fault.Wrap(err, fault.Usage, "wal2vec bench search", "reading what to do")
	}
	c := config.Default()
	c.Encoder, c.Source.DSN, c.Backfill.Full = order.Encoder, config.DSN(order.DSN), true
	c.HTTP.Listen, c.Log.Level = "", "warn"
	e, err := engine.Opener{Log: zerolog.Nop()}.Open(ctx, c)
	if err != nil {
		return err
	}
	defer e.Close()
	b := &bench{options: Options{Rows: order.Rows, Data: order.Data}}
	texts, _, err := b.options.texts()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	e.Encoder = announcing{e.Encoder, sync.OnceFunc(func() {
		_, _ = io.WriteString(out, loadReady) // who waits for it in vain says so
	})}
	w := &worker{engine: e, begun: time.Now()}
	if order.Kind == LoadBackfill {
		err = w.backfill(ctx, c)
	} else {
		err = w.encode(ctx, texts, b.encodingOptions(e))
	}
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(w.done()); err != nil {
		return fmt.Errorf("saying what was done: %w", err)
	}
	return nil
}

// backfill encodes the whole table again and again.
func (w *worker) backfill(ctx context.Context, c config.Config) error {
	before := w.engine.Stats().Encoded
	for ctx.Err() == nil {
		err := w.backfillOnce(ctx, c)
		w.texts.Store(w.engine.Stats().Encoded - before)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (w *worker) backfillOnce(ctx context.Context, c config.Config) error {
	f, err := backfill.Open(ctx, engine.Opener{Log: zerolog.Nop(), Shared: w.engine}, c, zerolog.Nop())
	if err != nil {
		return err
	}
	defer f.Close(ctx)
	return f.Backfill(ctx, backfill.Options{}, backfill.Quiet{})
}
