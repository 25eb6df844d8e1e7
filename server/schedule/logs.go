package schedule

import (
	"math"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// Logs is the time that the logs of a server have come to. It implements [Source].
type Logs struct {
	replicas  *replica.Set
	idleAfter time.Duration
	// settled is when forwarders have had time to come.
	settled time.Time
	// idle are logs that were silent already when this server was started.
	idle map[segment.LogID]bool
}

// NewLogs returns the time of logs that were just opened. One that is silent for
// idleAfter does not count until it comes back. There may be logs that this server has not
// heard of: nothing is known before settle has passed, in which their forwarders come.
func NewLogs(replicas *replica.Set, idleAfter, settle time.Duration) *Logs {
	l := &Logs{replicas: replicas, idleAfter: idleAfter, settled: time.Now().Add(settle), idle: map[segment.LogID]bool{}}
	newest := int64(math.MinInt64)
	for _, r := range replicas.All() {
		newest = max(newest, r.Time())
	}
	for _, r := range replicas.All() {
		if newest-r.Time() >= idleAfter.Milliseconds() {
			l.idle[r.ID] = true
		}
	}
	return l
}

// Passed is the time (ms) that every log that counts has come to, or, if none counts, the
// latest of all. It is false while that is not known: no log was copied, or one that counts
// has not been copied for the first time, or one that is not known yet may come.
func (l *Logs) Passed() (ms int64, ok bool) {
	if time.Now().Before(l.settled) {
		return 0, false
	}
	slowest, latest := int64(math.MaxInt64), int64(math.MinInt64)
	counted, known := false, false
	for _, r := range l.replicas.All() {
		switch counts, serving := l.counts(r), r.Serving(); {
		case counts && !serving:
			return 0, false
		case counts:
			counted = true
			slowest = min(slowest, r.Time())
		case serving:
			known = true
			latest = max(latest, r.Time())
		}
	}
	if counted {
		return slowest, true
	}
	return latest, known
}

// counts says whether more of a log may come. One that is being copied counts however
// long nothing has come, since it is known that something will.
func (l *Logs) counts(r *replica.Replica) bool {
	if r.EndedForGood() {
		return false
	}
	if r.Connected() && r.Lag() > 0 {
		return true
	}
	came := r.LastReceived()
	if came.IsZero() {
		return !l.idle[r.ID] && time.Since(r.Opened()) < l.idleAfter
	}
	return time.Since(came) < l.idleAfter
}

// Changed implements [Source].
func (l *Logs) Changed() <-chan struct{} { return l.replicas.Updates.Next() }

// Away implements [Source]. All logs of a server are at the server.
func (l *Logs) Away() (groups []string) { return nil }

// HeldBy implements [Source].
func (l *Logs) HeldBy() (groups []string, changed <-chan struct{}) { return nil, nil }
