package seglog

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned by every operation on a closed log.
	ErrClosed = errors.New("log is closed")
	// ErrBroken is wrapped by every error of a Writer or Mirror after a failed
	// write or sync. Close it and open it again.
	ErrBroken = errors.New("log is broken by an earlier error")
	// ErrLocked says that another process has the store.
	ErrLocked = errors.New("storage is in use by another process")
)

// OutOfRangeError says that the blocks after a position are not kept any more.
type OutOfRangeError struct {
	// Oldest sequence that is still on disk.
	Oldest uint64
}

func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("position is older than what is kept, oldest sequence is %d", e.Oldest)
}

// GapError says that blocks are missing between two sequences. The reader that
// returned it continues with block Next.
type GapError struct {
	// After is the last sequence before the gap, Next the first after it.
	After, Next uint64
	// Cause is a *DamageError, or nil when retention overtook the reader.
	Cause error
}

func (e *GapError) Error() string {
	s := fmt.Sprintf("gap: blocks after %d and before %d are not available", e.After, e.Next)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *GapError) Unwrap() error { return e.Cause }

// DamageError says where committed data cannot be read.
type DamageError struct {
	File   string
	Offset int64
	Err    error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("segment %s is damaged at offset %d: %v", e.File, e.Offset, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }
