package watch

import (
	"slices"
	"sync"

	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// Watches are those of a server's logs. They may be used concurrently.
type Watches struct {
	replicas *replica.Set

	mu      sync.Mutex
	watches map[*Watch]struct{}
	logs    map[*replica.Replica]*watched // that are watched
	serving []*replica.Replica            // as the watches know it
	ended   chan struct{}                 // closed with the last watch; nil: there is none
}

// New returns the watches of a server's logs, none so far.
func New(replicas *replica.Set) *Watches {
	return &Watches{replicas: replicas, watches: map[*Watch]struct{}{}, logs: map[*replica.Replica]*watched{}}
}

// Log is what a new watch knows of a log.
type Log struct {
	Replica *replica.Replica
	// Read is the last block that is read.
	Read uint64
	// Refs are of the series that are selected: at least those that came before Next or
	// by the block that is read.
	Refs []uint64
	// Next is the first reference that may be missing among them.
	Next uint64
}

// MaxSeries is how many series of all its logs a watch has at most. Those of more are in
// so many blocks that waking them for each costs little more.
const MaxSeries = 4096

// Watch watches the series of a selection that does not scan. It is woken once at first.
// It is nil if a log cannot be watched.
func (w *Watches) Watch(s *selection.Selection, logs []Log) *Watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	updates, serving := w.replicas.Updates.Next(), w.replicas.Serving()
	for i := range logs {
		if !slices.Contains(serving, logs[i].Replica) {
			return nil
		}
	}
	x := &Watch{of: w, selection: s, wake: make(chan struct{}, 1)}
	for i := range logs {
		log := w.watched(logs[i].Replica)
		if log == nil {
			w.remove(x)
			return nil
		}
		x.add(log, &logs[i])
	}
	w.watches[x] = struct{}{}
	if w.ended == nil {
		w.serving, w.ended = serving, make(chan struct{})
		go w.run(updates, w.ended)
	}
	x.signal()
	return x
}

// watched returns a log that is looked at from its present on. Nil: it cannot be read.
func (w *Watches) watched(r *replica.Replica) *watched {
	log := w.logs[r]
	if log == nil {
		if log = newWatched(r); log != nil {
			w.logs[r] = log
		}
	}
	return log
}

// remove removes a watch. The caller holds mu.
func (w *Watches) remove(x *Watch) {
	for _, in := range x.interests {
		in.leave()
		if in.log.none() {
			delete(w.logs, in.log.replica)
		}
	}
	x.interests = nil
	delete(w.watches, x)
	if len(w.watches) == 0 && w.ended != nil {
		close(w.ended)
		w.ended = nil
	}
}

// run looks at what is new, from an update on, until the last watch has ended.
func (w *Watches) run(updates, ended <-chan struct{}) {
	for {
		select {
		case <-updates:
		case <-ended:
			return
		}
		updates = w.replicas.Updates.Next()
		w.look(ended)
	}
}

// look looks at the blocks that are new, unless others do since.
func (w *Watches) look(ended <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-ended:
		return
	default:
	}
	if serving := w.replicas.Serving(); !slices.Equal(serving, w.serving) {
		w.serving = serving
		for x := range w.watches {
			x.signal()
		}
	}
	for _, log := range w.logs {
		log.look()
	}
}
