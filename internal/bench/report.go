package bench

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/connect"
)

// Report is what bench prints; its JSON names are a contract, described in docs/bench.md.
type Report struct {
	Bench    string   `json:"bench"`
	Machine  Machine  `json:"machine"`
	Versions Versions `json:"versions"`
	Settings Settings `json:"settings"`
	Figures  any      `json:"figures"`
}

// Machine is what the benchmark ran on.
type Machine struct {
	CPU         string  `json:"cpu_model"`
	Cores       int     `json:"cores"`
	MemoryBytes int64   `json:"memory_bytes"`
	OS          string  `json:"os"`
	Arch        string  `json:"arch"`
	Load        float64 `json:"load_average_1m"` // before the start
}

// Versions are those of all that took part.
type Versions struct {
	Wal2vec     string `json:"wal2vec"`
	Go          string `json:"go"`
	ONNXRuntime string `json:"onnxruntime,omitempty"`
	Postgres    string `json:"postgres,omitempty"`
	Pgvector    string `json:"pgvector,omitempty"`
}

// Settings are those that the benchmark reads; the others are left out.
type Settings struct {
	Rows    int    `json:"rows"`
	Data    string `json:"data,omitempty"`
	Encoder string `json:"encoder,omitempty"` // the model's name, or fake
	Device  string `json:"device,omitempty"`
	// Precision, Kernel and Tokenizer are what became of the settings on this machine.
	Precision string `json:"precision,omitempty"`
	Kernel    string `json:"kernel,omitempty"`
	Tokenizer string `json:"tokenizer,omitempty"`
	Workers   int    `json:"encoder_workers,omitempty"`

	Fsync           *bool             `json:"fsync,omitempty"`
	Index           *bool             `json:"index,omitempty"`
	Postgres        map[string]string `json:"postgres,omitempty"`
	ChunkRows       int               `json:"chunk_rows,omitempty"`
	Writers         int               `json:"writers,omitempty"`
	InFlight        int               `json:"chunks_in_flight,omitempty"`
	Encoding        int               `json:"chunks_encoded_at_once,omitempty"`
	TransactionRows int               `json:"transaction_rows,omitempty"`
	Rate            int               `json:"rate_per_second,omitempty"`
	Seconds         int               `json:"seconds,omitempty"`
	Runs            int               `json:"runs,omitempty"`
	Edits           int               `json:"edits,omitempty"`
	Distinct        *bool             `json:"distinct,omitempty"`
	CallTexts       int               `json:"call_texts,omitempty"`
	Calls           int               `json:"calls_at_once,omitempty"`
	WarmUp          *int              `json:"warm_up_texts,omitempty"`
	Queries         int               `json:"queries,omitempty"`
	Limit           int               `json:"limit,omitempty"`
	MaxRowBytes     int64             `json:"max_row_bytes,omitempty"`
}

func newReport(name string, p Program) Report {
	r := Report{
		Bench: name,
		Machine: Machine{
			CPU: procField("/proc/cpuinfo", "model name"), Cores: runtime.GOMAXPROCS(0),
			MemoryBytes: procKilobytes("/proc/meminfo", "MemTotal"), OS: runtime.GOOS, Arch: runtime.GOARCH, Load: loadAverage(),
		},
		Versions: Versions{Wal2vec: p.Version, Go: p.Go},
	}
	if parts, err := connect.FindParts(); err == nil {
		r.Versions.ONNXRuntime = libraryVersion(parts.ONNXRuntime)
	}
	return r
}

// libraryVersion reads 1.32.0 off libonnxruntime.so.1.32.0, which the plain name links to; "" when
// there is none.
func libraryVersion(path string) string {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	name := strings.TrimSuffix(filepath.Base(target), ".dylib")
	at := strings.IndexAny(name, "0123456789")
	if at < 0 {
		return ""
	}
	return name[at:]
}

// procField returns the value of "name: value" in a file of Linux; "" elsewhere.
func procField(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		field, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(field) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// procKilobytes returns the bytes of a field in kB, or 0.
func procKilobytes(path, name string) int64 {
	number, _, _ := strings.Cut(procField(path, name), " ")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

func loadAverage() float64 {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(content), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}

// peakResident is the most memory that this process had resident since resetPeak, in bytes; 0 where
// the system does not tell.
func peakResident() int64 { return procKilobytes("/proc/self/status", "VmHWM") }

// resetPeak begins a new peak, so that loading the table does not count. Where it fails the peak is
// the process's.
func resetPeak() {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}
