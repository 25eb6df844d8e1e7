package listen

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// socket is a line of /proc/net/tcp that is about a listener.
type socket struct {
	local      netip.AddrPort
	uid, inode string
}

// owner of the port of an address, "" if it cannot be found out.
func owner(address string) string {
	wanted, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return ""
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		lines, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(lines) {
			if s, ok := parseListener(string(line)); ok && s.meets(wanted.AddrPort()) {
				return s.owner()
			}
		}
	}
	return ""
}

// parseListener reads a line of /proc/net/tcp or tcp6. It is false for what does
// not listen.
func parseListener(line string) (s socket, ok bool) {
	const listening = "0A"
	fields := strings.Fields(line)
	if len(fields) < 10 || fields[3] != listening {
		return socket{}, false
	}
	address, port, _ := strings.Cut(fields[1], ":")
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return socket{}, false
	}
	words, err := hex.DecodeString(address)
	if err != nil || len(words)%4 != 0 {
		return socket{}, false
	}
	// Each word of four bytes is printed as a number of this machine.
	for i := 0; i < len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	ip, ok := netip.AddrFromSlice(words)
	return socket{netip.AddrPortFrom(ip.Unmap(), uint16(number)), fields[7], fields[9]}, ok
}

// meets says whether the socket keeps others from listening at an address.
func (s *socket) meets(wanted netip.AddrPort) bool {
	if s.local.Port() != wanted.Port() {
		return false
	}
	to := wanted.Addr().Unmap()
	return !to.IsValid() || to.IsUnspecified() || s.local.Addr().IsUnspecified() || s.local.Addr() == to
}

// owner is the process that has the socket, or its user if the process cannot be seen.
func (s *socket) owner() string {
	link := "socket:[" + s.inode + "]"
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if to, err := os.Readlink(file); err == nil && to == link {
			pid := strings.Split(file, "/")[2]
			return fmt.Sprintf("%s (process %s)", program(pid), pid)
		}
	}
	name := "the user " + s.uid
	if u, err := user.LookupId(s.uid); err == nil {
		name = u.Username
	}
	return "a process of " + name
}

// program is the name that a process was started by.
func program(pid string) string {
	line, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	name, _, _ := strings.Cut(string(line), "\x00")
	if err != nil || name == "" {
		return "a program"
	}
	return filepath.Base(name)
}
