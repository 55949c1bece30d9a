package models

import (
	"fmt"
	"io"
	"os"
)

// The most bytes that a file of a checkpoint may have. A file comes from whoever made the model, and is read into memory as a whole.
const (
	// MaxConfigBytes bounds every JSON file but the tokenizer. The largest known are indexes of weights and tokenizer_config.json, some MB.
	MaxConfigBytes = 16 << 20
	// MaxTokenizerBytes bounds tokenizer.json; the largest known has 35 MB.
	MaxTokenizerBytes = 128 << 20
	// MaxExportBytes bounds a ready ONNX export: protobuf has no larger messages.
	MaxExportBytes = 1<<31 - 1
)

// ReadFile reads a file of a checkpoint of at most so many bytes. What is no regular file is not opened: a pipe would be waited for
// without end.
func ReadFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that such a file may have", path, info.Size(), most)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data := make([]byte, info.Size()) // the file may grow while it is read
	n, err := io.ReadFull(file, data)
	if err != nil && n < len(data) {
		return nil, fmt.Errorf("%s ends after %d of %d bytes: %w", path, n, len(data), err)
	}
	return data, nil
}
