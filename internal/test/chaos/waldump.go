package chaos

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Commit is a commit record of the log.
type Commit struct {
	XID uint32
	// LSN is where the record begins.
	LSN change.LSN
}

var commitLine = regexp.MustCompile(`(?m)^rmgr: Transaction .* tx: +([0-9]+), lsn: ([0-9A-F]+/[0-9A-F]+), .* desc: COMMIT `)

// ParseCommits reads the commits that pg_waldump printed, in the order of the log.
func ParseCommits(output string) ([]Commit, error) {
	var commits []Commit
	for _, match := range commitLine.FindAllStringSubmatch(output, -1) {
		xid, err := strconv.ParseUint(match[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("reading a transaction id: %w", err)
		}
		lsn, err := change.ParseLSN(match[2])
		if err != nil {
			return nil, err
		}
		commits = append(commits, Commit{XID: uint32(xid), LSN: lsn})
	}
	return commits, nil
}
