package models

import (
	"errors"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// The most bytes that a file of a checkpoint may have. A file comes from the maker of the model,
// and is read into memory as a whole.
const (
	// MaxConfigBytes bounds every JSON file but the tokenizer. The largest known is a
	// tokenizer_config.json of 1.2 MB.
	MaxConfigBytes = 8 << 20
	// MaxTokenizerBytes bounds tokenizer.json; the largest known has 35 MB.
	MaxTokenizerBytes = 128 << 20
	// MaxExportBytes bounds a ready ONNX export: protobuf has no larger messages.
	MaxExportBytes = 1<<31 - 1
)

// ReadFile reads a file of a checkpoint of at most so many bytes; a larger one is an error of kind
// fault.Usage. So is what is no regular file, which is not opened: a pipe would be waited for
// without end.
func ReadFile(path string, most int64) ([]byte, error) {
	data, err := safefile.Read(path, most)
	if kind, ok := errors.AsType[*safefile.KindError](err); ok {
		return nil, fault.New(fault.Usage, "choose another model", "%s %s", path, kind.Why())
	}
	if size, ok := errors.AsType[*safefile.SizeError](err); ok {
		return nil, fault.New(fault.Usage, "choose another model", "%s %s", path, size.Why())
	}
	return data, err
}
