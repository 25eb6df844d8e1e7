package segment

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// LogID names a log. It is made once, when the log is, and never changes.
type LogID [16]byte

// NewLogID returns a random id.
func NewLogID() LogID {
	var id LogID
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// ParseLogID reads what String wrote: 32 lower-case hexadecimal digits.
func ParseLogID(s string) (LogID, error) {
	var id LogID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) || hex.EncodeToString(b) != s {
		return id, fmt.Errorf("log id %.40q: want 32 lower-case hexadecimal digits", s)
	}
	copy(id[:], b)
	return id, nil
}

// String returns the id as 32 lower-case hexadecimal digits.
func (id LogID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the id is unset.
func (id LogID) IsZero() bool { return id == LogID{} }
