package arch_test

// module is the path before every package's own.
const module = "github.com/wal2vec/wal2vec/"

// ranks is the layering: a package imports only packages of a lower rank. The table is complete, so
// a new package has to be put somewhere by a decision.
var ranks = map[string]int{
	"internal/test/arch":    0,
	"internal/change":       0,
	"internal/console":      0,
	"internal/failpoint":    0,
	"internal/fault":        0,
	"internal/test/mutants": 0,
	"internal/pause":        0,
	"internal/pgname":       0,
	"internal/demodata":     0,
	"internal/safefile":     0,
	"internal/statement":    0,
	"models/onnxpb":         0,
	"sql":                   0,

	"internal/config":         1,
	"internal/pgserver":       1,
	"internal/pgsession":      1,
	"internal/pipeline/batch": 1,
	"internal/protocol":       1,
	"models":                  1,
	"replication/pgoutput":    1,

	"encoder":          2,
	"encoder/ort":      2,
	"encoder/tokenize": 2,
	"internal/assets":  2,
	"internal/monitor": 2,
	"models/hub":       2,
	"replication":      2,
	"replication/rows": 2,
	"sink":             2,

	"internal/api":      3,
	"internal/connect":  3,
	"internal/pipeline": 3,

	"internal/engine": 4,

	"internal/backfill": 5,
	"internal/search":   5,

	"internal/audit":  6,
	"internal/doctor": 6,
	"internal/setup":  6,

	"internal/follow": 7,

	"internal/host": 8,
	"internal/mart": 8,

	"internal/bench": 9,
	"internal/demo":  9,

	"cmd/wal2vec": 10,
}

// equals lists the imports allowed within one rank: parts of one adapter, never one adapter from
// another.
var equals = map[string][]string{
	"internal/change":   {"internal/pgname"},                   // what a reader does not see as itself is one rule
	"internal/safefile": {"internal/pgname", "internal/fault"}, // its advice is pasted into a shell; what it finds becomes a fault in one place
	"encoder/ort":       {"encoder"},
	"encoder/tokenize":  {"encoder"},
}

// apart lists what a package must not import though its rank would let it: a conductor knows its
// adapters by its own ports alone.
var apart = map[string][]string{
	"internal/pipeline": {"encoder", "replication", "sink"},
}

// testOnly lists the packages that only test files import, each with the program packages that may
// as well.
var testOnly = map[string][]string{
	"internal/test/chaos":      nil,
	"internal/test/enginetest": nil,
	"internal/test/pgtest":     nil,
	"internal/test/protocol":   nil,
	"encoder/encodertest":      {"internal/engine"}, // bench measures the plumbing with the fake encoder
}

// bottom says what the packages of rank 0 import beyond the standard library.
var bottom = map[string][]string{
	"internal/failpoint": {"github.com/jackc/pgx/v5/pgconn"}, // an injected error
	"internal/fault":     {"github.com/jackc/pgx/v5/pgconn"}, // SQLSTATEs
	"internal/pause":     {"github.com/cenkalti/backoff/v5"},
	"internal/statement": {"github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgconn"}, // what runs a statement
	"models/onnxpb": { // generated
		"google.golang.org/protobuf/reflect/protoreflect",
		"google.golang.org/protobuf/runtime/protoimpl",
	},
}

// confined says which packages alone import a library: so that it can be replaced in one place.
var confined = map[string][]string{
	"C":                               {"encoder/ort"}, // operators of our own
	"expvar":                          nil,             // serves the command line, passwords included
	"net/http/pprof":                  nil,             // as above
	"github.com/cenkalti/backoff/v5":  {"internal/pause"},
	"github.com/daulet/tokenizers":    {"encoder/tokenize"},
	"github.com/jackc/pglogrepl":      {"replication", "replication/pgoutput"},
	"github.com/spf13/cobra":          {"cmd/wal2vec"},
	"github.com/vbauerster/mpb/v8":    {"cmd/wal2vec"},
	"github.com/yalue/onnxruntime_go": {"encoder/ort"},
}

// The sizes of STYLE: lines of a file and of a function, and parameters besides the context.
const (
	maxFileLines     = 500
	maxTestFileLines = 800
	maxFuncLines     = 80
	maxParameters    = 5
	// maxCommentColumns is where a line ends that is a comment; a tab is four columns.
	maxCommentColumns = 100
	// maxCommandLines bounds the program itself, without tests: flags, one call, printing.
	maxCommandLines = 5000
)
