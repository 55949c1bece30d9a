package models

import (
	"bytes"
	"io"
	"os"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// The most bytes that a file of a checkpoint may have. A file comes from whoever made the model, and is read into memory as a whole.
const (
	// MaxConfigBytes bounds every JSON file but the tokenizer. The largest known is a tokenizer_config.json of 1.2 MB.
	MaxConfigBytes = 8 << 20
	// MaxTokenizerBytes bounds tokenizer.json; the largest known has 35 MB.
	MaxTokenizerBytes = 128 << 20
	// MaxExportBytes bounds a ready ONNX export: protobuf has no larger messages.
	MaxExportBytes = 1<<31 - 1
)

// ReadFile reads a file of a checkpoint of at most so many bytes; a larger one is an error of kind fault.Usage. So is what is no regular
// file, which is not opened: a pipe would be waited for without end.
func ReadFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Usage, "choose another model", "%s is not a file", path)
	}
	tooLarge := fault.New(fault.Usage, "choose another model", "%s has more than %d bytes, the most that such a file may have", path, most)
	if info.Size() > most {
		return nil, tooLarge
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var data bytes.Buffer
	data.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := data.ReadFrom(io.LimitReader(file, most+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) > most { // it grew
		return nil, tooLarge
	}
	return data.Bytes(), nil
}
