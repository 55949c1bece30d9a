package models

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/wal2vec/wal2vec/internal/fault"
)

// blockBytes is how much of a file of weights is compared at a time. Small tensors lie apart and
// are read more than once: with blocks of a megabyte, making the int8 graph of all-MiniLM-L6-v2
// took 0.3 s more of a processor, and 90 MB more memory.
const blockBytes = 64 << 10

// errChanged says that a file has other bytes than those that were hashed.
var errChanged = errors.New("it has other bytes than those that were hashed")

// sealed reads a file that was hashed as a whole, in any order and as often as need be, and gives
// out the bytes that were hashed or an error: the owner of the file may write into it, or put
// another in its place, at any time.
type sealed struct {
	file   io.ReaderAt
	size   int64
	blocks [][sha256.Size]byte
	// changed is the error of a block that differs; errChanged is in its chain.
	changed error
}

// seal reads the whole of a file of weights of size bytes and returns its sum, as hashWeights does.
func seal(file io.ReaderAt, size int64) (s *sealed, sum string, err error) {
	s = &sealed{file: file, size: size, changed: errChanged}
	whole, left := newWeightsSum(size)
	block := make([]byte, blockBytes)
	for at := int64(0); at < size; at += blockBytes {
		block = block[:min(blockBytes, size-at)]
		if _, err := file.ReadAt(block, at); err != nil && !errors.Is(err, io.EOF) {
			return nil, "", err
		}
		s.blocks = append(s.blocks, sha256.Sum256(block))
		whole.Write(block[:min(left, int64(len(block)))])
		left -= min(left, int64(len(block)))
	}
	return s, hex.EncodeToString(whole.Sum(nil)), nil
}

// ReadAt is io.ReaderAt's.
func (s *sealed) ReadAt(p []byte, at int64) (n int, err error) {
	var own []byte
	for n < len(p) && at < s.size {
		number := at / blockBytes
		start := number * blockBytes
		size := min(blockBytes, s.size-start)
		block := p[n:min(int64(len(p)), int64(n)+size)]
		if at != start || int64(len(block)) < size { // a part of it is asked for, and the whole is compared
			if own == nil {
				own = make([]byte, blockBytes)
			}
			block = own[:size]
		}
		if got, err := s.file.ReadAt(block, start); err != nil && (!errors.Is(err, io.EOF) || int64(got) < size) {
			return n, s.shortIsChanged(err)
		}
		if sha256.Sum256(block) != s.blocks[number] {
			return n, s.changed
		}
		taken := copy(p[n:], block[at-start:])
		n, at = n+taken, at+int64(taken)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// shortIsChanged: a file that ends earlier than before has changed.
func (s *sealed) shortIsChanged(err error) error {
	if errors.Is(err, io.EOF) {
		return s.changed
	}
	return err
}

// changed is the error of a file of the checkpoint that is not the one that was hashed.
func (c *Checkpoint) changed(name string) error {
	const try = "see which process writes into the model's folder, and run the command again"
	return fault.Wrap(errChanged, fault.Model, try, "%s of model %s changed while it was read", name, c.dir)
}
