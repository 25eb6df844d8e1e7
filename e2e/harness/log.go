package harness

import (
	"bytes"
	"strings"
	"sync"
)

// Log is what a process wrote. Any number of goroutines may use it.
type Log struct {
	mu     sync.Mutex
	data   []byte
	forgot int // Find looks from here on
}

func newLog() *Log { return &Log{} }

// Write appends to the log.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data = append(l.data, p...)
	return len(p), nil
}

// Bytes written so far. They must not be changed.
func (l *Log) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data[:len(l.data):len(l.data)]
}

// String is all that was written so far.
func (l *Log) String() string { return string(l.Bytes()) }

// Tail is the last part of the log, of about n bytes.
func (l *Log) Tail(n int) string {
	data := l.Bytes()
	if len(data) <= n {
		return string(data)
	}
	data = data[len(data)-n:]
	return "…\n" + string(data[bytes.IndexByte(data, '\n')+1:])
}

// Forget has Find look only at what is written from now on.
func (l *Log) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgot = len(l.data)
}

// Find returns the first whole line that has all parts in it.
func (l *Log) Find(parts ...string) (string, bool) {
	l.mu.Lock()
	data := l.data[l.forgot:len(l.data):len(l.data)]
	l.mu.Unlock()
next:
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		for _, part := range parts {
			if !bytes.Contains(line, []byte(part)) {
				continue next
			}
		}
		return string(line), true
	}
	return "", false
}

// logfmt splits a line of key=value pairs, of which values may be quoted.
func logfmt(line string) map[string]string {
	fields := map[string]string{}
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " ") {
		key, rest, ok := strings.Cut(line, "=")
		if !ok {
			break
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, line, _ = strings.Cut(rest[1:], `"`)
		} else {
			value, line, _ = strings.Cut(rest, " ")
		}
		fields[key] = value
	}
	return fields
}
