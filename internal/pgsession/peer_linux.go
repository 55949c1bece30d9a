package pgsession

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// credentials asks which account listens at a socket in a folder.
func credentials(conn net.Conn) peer {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return peer{}
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return peer{}
	}
	found := peer{}
	err = control.Control(func(fd uintptr) {
		if who, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			found = peer{owned, who.Uid}
		}
	})
	if err != nil {
		return peer{}
	}
	return found
}

// looks is how often both tables are read before a connection counts as one that leads elsewhere: a
// table changes while it is read, so that a line may be missed.
const looks = 3

// holder finds the line of a connection's other end in the kernel's tables: the one whose addresses
// are ours turned round. An end on this machine has it as long as a process has it open, which a
// process that is to read what we send has to.
func holder(ours, theirs netip.AddrPort) peer {
	last := peer{}
	for range looks {
		last = look(tables, ours, theirs)
		if last.standing != elsewhere {
			break
		}
	}
	return last
}

// tables is where the kernel shows the connections of this process' network.
const tables = "/proc/self/net/"

// look reads no further than the line of an end that a process has open: no other line has the same
// addresses. For each table the kernel walks all of its places for connections, which takes
// milliseconds however few are in use.
func look(tables string, ours, theirs netip.AddrPort) peer {
	seen, found := false, peer{}
	for _, table := range []string{"tcp", "tcp6"} {
		six := table == "tcp6"
		if !six && !theirs.Addr().Is4() {
			continue
		}
		near, far := inTable(ours, six), inTable(theirs, six)
		err := lines(tables+table, func(line []byte) (more bool) {
			// Of a thousand connections of other processes nothing is kept.
			if !bytes.Contains(line, []byte(near)) || !bytes.Contains(line, []byte(far)) {
				return true
			}
			switch fields := strings.Fields(string(line)); {
			case len(fields) < fieldsOfLine:
			case fields[1] == near && fields[2] == far:
				seen = true
			case fields[1] == far && fields[2] == near:
				found = ofLine(fields)
			}
			return found.standing != owned
		})
		if err != nil && !six { // a system without IPv6 has no table of it
			return peer{}
		}
		if found.standing == owned {
			return found
		}
	}
	switch {
	case found.standing != unknown:
		return found
	case seen:
		return peer{standing: elsewhere}
	default:
		return peer{}
	}
}

const fieldsOfLine = 10

// ofLine reads state, account and inode of a line.
func ofLine(fields []string) peer {
	const synReceived, timeWait, newSynReceived, state, uid, inode = "03", "06", "0C", 3, 7, 9
	switch fields[state] {
	case synReceived, timeWait, newSynReceived:
		return peer{standing: unowned}
	}
	number, err := strconv.ParseUint(fields[uid], 10, 32)
	if err != nil || fields[inode] == "0" {
		return peer{standing: unowned}
	}
	return peer{owned, uint32(number)}
}

// inTable writes an address as the tables have it: words of four bytes in the machine's order, then
// the port.
func inTable(a netip.AddrPort, six bool) string {
	left := a.Addr().AsSlice()
	if six {
		whole := a.Addr().As16()
		left = whole[:]
	}
	var b strings.Builder
	for ; len(left) > 0; left = left[4:] {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(left))
	}
	return b.String() + fmt.Sprintf(":%04X", a.Port())
}

// lines hands over the lines of a file until each returns false.
func lines(path string, each func(line []byte) (more bool)) error {
	file, err := os.Open(path) //nolint:gosec // one of the kernel's, but in tests
	if err != nil {
		return err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		if !each(scanner.Bytes()) {
			break
		}
	}
	return scanner.Err()
}
