package safefile

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
)

// KindError says that a path names something that is no regular file: a folder, a pipe, a device, a
// socket.
type KindError struct {
	Path string
	Mode fs.FileMode
}

// Error is one line.
func (e *KindError) Error() string { return strconv.Quote(e.Path) + " " + e.Why() }

// Why follows the path in a sentence.
func (e *KindError) Why() string { return "is " + e.kind() + " and not a file" }

func (e *KindError) kind() string {
	switch t := e.Mode.Type(); {
	case t&fs.ModeDir != 0:
		return "a folder"
	case t&fs.ModeNamedPipe != 0:
		return "a pipe"
	case t&fs.ModeSocket != 0:
		return "a socket"
	case t&fs.ModeDevice != 0:
		return "a device"
	default:
		return "something else"
	}
}

// SizeError says that a file has more bytes than a file of its kind may have.
type SizeError struct {
	Path string
	// Most is the bound in bytes.
	Most int64
}

// Error is one line.
func (e *SizeError) Error() string { return strconv.Quote(e.Path) + " " + e.Why() }

// Why follows the path in a sentence.
func (e *SizeError) Why() string {
	return fmt.Sprintf("has more than %d bytes, the most that such a file may have", e.Most)
}

// Open opens a regular file for reading, as os.Open does. Anything else is a *KindError and is not
// read: a pipe would be waited for without end, deaf to signals, and to open a device can do
// something. Links are followed.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &KindError{Path: path, Mode: info.Mode()}
	}
	return openNow(path)
}

// openNow opens a file without a wait: a pipe may have taken its name since it was looked at.
func openNow(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &KindError{Path: path, Mode: info.Mode()}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// ReadTrusted is Read for a file that no account may have written but trusted ones: Check, and then
// Read. What Check finds missing is not read, since any account may make it, in a folder as /tmp
// is, a moment later: it is an fs.ErrNotExist. What Check finds in order no other account can
// replace.
func ReadTrusted(path string, most int64) ([]byte, error) { return readAfter(Check, path, most) }

func readAfter(check func(path string) error, path string, most int64) ([]byte, error) {
	if err := check(path); err != nil {
		return nil, err
	}
	return Read(path, most)
}

// Read returns what is in a regular file of at most so many bytes. A larger one is a *SizeError,
// anything that is no file a *KindError.
func Read(path string, most int64) ([]byte, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, &SizeError{Path: path, Most: most}
	}
	var data bytes.Buffer
	data.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := data.ReadFrom(io.LimitReader(file, most+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) > most { // it grew, or is one of those that say 0
		return nil, &SizeError{Path: path, Most: most}
	}
	return data.Bytes(), nil
}
