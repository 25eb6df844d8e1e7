package cli

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// maxCursor is the length of the longest cursor that a request may carry: one of rules,
// with the alerts that are active.
const maxCursor = 262144

// maxCursorRecord is the length of the longest record.
const maxCursorRecord = maxCursor + len(" 01234567\n")

var (
	errNotCursor  = errors.New("it is not a cursor file")
	errTornCursor = errors.New("it is torn, as a crash may leave it: remove it, and start with --since or without")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// cursorRecord returns the content of a cursor file: a line with the cursor, a space,
// and the CRC-32C of the cursor in hexadecimal. Without a cursor it is empty.
func cursorRecord(cursor string) string {
	if cursor == "" {
		return ""
	}
	return fmt.Sprintf("%s %08x\n", cursor, crc32.Checksum([]byte(cursor), castagnoli))
}

// parseCursorRecord returns the cursor of a record. The line may be followed by the
// rest of a longer record, whose overwriting was interrupted before the truncation.
func parseCursorRecord(b []byte) (string, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return "", nil
	}
	line, _, ended := strings.Cut(string(b), "\n")
	if cursor, _, _ := strings.Cut(line, " "); ended && isCursor(cursor) && line+"\n" == cursorRecord(cursor) {
		return cursor, nil
	}
	// A torn record is a mix of two, or the start of one, or has bytes that never
	// reached the disk.
	fields := strings.Split(strings.ReplaceAll(line, "\x00", "0"), " ")
	if len(fields) > 3 || slices.ContainsFunc(fields, func(f string) bool { return f != "" && !isCursor(f) }) {
		return "", errNotCursor
	}
	if last := fields[len(fields)-1]; !ended || len(fields) > 1 && isChecksum(last) || strings.Contains(line, "\x00") {
		return "", errTornCursor
	}
	return "", errNotCursor
}

// isCursor reports whether a text could be a server's cursor.
func isCursor(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxCursor
}

func isChecksum(s string) bool {
	return len(s) == 2*crc32.Size && strings.Trim(s, "0123456789abcdef") == ""
}
