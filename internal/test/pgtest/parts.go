package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const defaultMajor = 18

// Major returns the major version of PostgreSQL that Database, SinkDatabase and Server run.
func Major() int {
	text := os.Getenv("WAL2VEC_TEST_PG")
	if text == "" {
		return defaultMajor
	}
	major, err := strconv.Atoi(text)
	if err != nil {
		panic(fmt.Sprintf("pgtest: WAL2VEC_TEST_PG is %q, want a major version such as 18", text))
	}
	return major
}

// Majors returns the major versions that a test which chooses its servers itself runs them of: 16
// and 18, or the one that WAL2VEC_TEST_PG names. `make test` names one after the other.
func Majors() []int {
	if os.Getenv("WAL2VEC_TEST_PG") != "" {
		return []int{Major()}
	}
	return []int{16, defaultMajor}
}

// Parts returns the folder of the parts that `make parts` unpacks, as an absolute path; it may not
// exist.
func Parts() (string, error) {
	if parts := os.Getenv("WAL2VEC_PARTS"); parts != "" {
		return filepath.Abs(parts)
	}
	if cache := os.Getenv("WAL2VEC_CACHE"); cache != "" {
		return filepath.Abs(filepath.Join(cache, "parts"))
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cache", "parts"), nil
}

// Root returns the repository's root: the nearest folder with a go.mod, from the working directory
// up.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("finding the repository: no go.mod above the working directory")
		}
		dir = up
	}
}

// folder returns where the servers' folders are made: WAL2VEC_TEST_DIR, else memory where there is
// plenty of it, else "", the system's folder for temporary files. A database is 300 files: 12 ms in
// memory, 100 ms and more on an ext4 disk.
func folder() string {
	if dir := os.Getenv("WAL2VEC_TEST_DIR"); dir != "" {
		return dir
	}
	const memory, enough = "/dev/shm", 4 << 30
	var stat syscall.Statfs_t
	if err := syscall.Statfs(memory, &stat); err != nil || stat.Bavail*uint64(stat.Bsize) < enough {
		return ""
	}
	return memory
}
