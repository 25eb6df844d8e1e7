// Package buckettest breaks buckets, for tests: in the process as a wrapper, and for
// other processes as a proxy before a provider's stand-in.
package buckettest

import (
	"errors"
	"sync"
	"time"
)

// Faults are what is wrong. The zero value is nothing.
type Faults struct {
	// Delay is before each call.
	Delay time.Duration
	// Away is nobody there: no call gets anywhere.
	Away bool
	// Refuse has each call refused.
	Refuse bool
	// LoseAnswers does what is asked for, and then fails.
	LoseAnswers bool
	// CutReads ends reads with an error after so many bytes, unless it is 0.
	CutReads int64
}

// Errors of a bucket with faults.
var (
	ErrAway    = errors.New("the bucket is away")
	ErrRefused = errors.New("the bucket refuses this")
	ErrLost    = errors.New("the answer is lost")
	ErrCut     = errors.New("the connection broke")
)

// switchboard has the faults of the present.
type switchboard struct {
	lock   sync.Mutex
	faults Faults
	calls  int
}

// Set changes what is wrong from the next call on.
func (s *switchboard) Set(faults Faults) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.faults = faults
}

// Calls is how many there were.
func (s *switchboard) Calls() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.calls
}

func (s *switchboard) call() Faults {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.calls++
	return s.faults
}
