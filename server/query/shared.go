package query

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/selection"
)

// key is what those have in common who share evaluations.
type key struct {
	text            string
	step            int64
	delay, lookback time.Duration
	// allowed is what they may see, which is theirs alone: nobody's whose policy is
	// another one.
	allowed *selection.Selection
}

// ringSteps is how many of the latest steps are kept for those who are a little behind.
const ringSteps = 4

// errBehind is for who asks for a step that is kept no more.
var errBehind = errors.New("the step is kept no more")

// shared is an expression that is evaluated for all who follow it. Each step is evaluated
// for the first who asks, and kept for a while. References of series are the same for all.
type shared struct {
	queries    *Queries
	key        key
	expression *promql.Expression
	follower   *promql.Follower
	hash       uint64

	mu      sync.Mutex
	users   int // under the lock of the queries
	entries map[int64]*entry
	flights map[int64]*flight
	// references were given so far, and chains, in which they are valid, begun.
	references, chains uint64
}

// flight is an evaluation under way.
type flight struct {
	viewer  selection.Viewer
	waiting int // who want it
	cancel  context.CancelFunc
	done    chan struct{}
	entry   *entry
	err     error
}

// enter returns what a plan shares with others. leave has to be called.
func (q *Queries) enter(p *plan) *shared {
	k := key{p.expression.Text(), p.step, p.delay, p.lookback, p.viewer.Allowed}
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.shared[k]
	if s == nil {
		s = &shared{queries: q, key: k, expression: p.expression, hash: p.hash, entries: map[int64]*entry{}, flights: map[int64]*flight{}}
		s.follower = q.Engine.Follow(p.expression, promql.Options{Viewer: p.viewer, Delay: &s.key.delay, Lookback: k.lookback, Late: k.step})
		q.shared[k] = s
	}
	s.users++
	return s
}

// leave gives up what nobody shares any more.
func (s *shared) leave() {
	s.queries.mu.Lock()
	defer s.queries.mu.Unlock()
	s.users--
	if s.users > 0 {
		return
	}
	delete(s.queries.shared, s.key)
	s.follower.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ms := range s.entries {
		s.evict(ms)
	}
}

// at returns the result of a step, evaluated unless another has asked for it. It has to
// be released.
func (s *shared) at(ctx context.Context, ms int64, from stake) (*entry, error) {
	for {
		e, f, err := s.join(ms, from)
		if e != nil || err != nil {
			return e, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			s.give(ms, f)
			return nil, context.Cause(ctx)
		}
		if e := s.take(f); e != nil {
			return e, nil
		}
		var over *limit.Error
		if errors.As(f.err, &over) && (f.viewer.Peer != from.viewer.Peer || f.viewer.Memory != from.viewer.Memory) {
			continue // It was the limit of who began it.
		}
		return nil, f.err
	}
}

// stake is who asks, and what is held for it.
type stake struct {
	viewer selection.Viewer
	hold   func() *limit.Hold
}

// join returns a step that is kept, or the evaluation under way, which it begins if there
// is none.
func (s *shared) join(ms int64, from stake) (*entry, *flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[ms]; e != nil {
		s.queries.metrics.shared.Inc()
		e.users++
		return e, nil, nil
	}
	if s.isBehind(ms) {
		return nil, nil, errBehind
	}
	f := s.flights[ms]
	if f == nil {
		ctx, cancel := context.WithCancel(context.Background())
		f = &flight{viewer: from.viewer, cancel: cancel, done: make(chan struct{})}
		s.flights[ms] = f
		go s.fly(ctx, f, ms, from.hold())
	} else {
		s.queries.metrics.shared.Inc()
	}
	f.waiting++
	return nil, f, nil
}

// isBehind says whether a step would be evicted at once.
func (s *shared) isBehind(ms int64) bool {
	newer := 0
	for at := range s.entries {
		if at > ms {
			newer++
		}
	}
	return newer >= ringSteps
}

// fly evaluates a step, whoever leaves meanwhile, until all have.
func (s *shared) fly(ctx context.Context, f *flight, ms int64, hold *limit.Hold) {
	defer f.cancel()
	e, err := s.evaluate(ctx, f.viewer, ms, hold)
	if err != nil {
		hold.Release()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights[ms] == f {
		delete(s.flights, ms)
	}
	f.entry, f.err = e, err
	if e != nil {
		if f.waiting > 0 {
			s.entries[ms] = e
			s.evictOldest()
		} else {
			e.evicted = true
			e.releaseUnused()
		}
	}
	close(f.done)
}

func (s *shared) evaluate(ctx context.Context, v selection.Viewer, ms int64, hold *limit.Hold) (*entry, error) {
	s.queries.metrics.evaluations.WithLabelValues("step").Inc()
	result, err := s.follower.Evaluate(ctx, v, ms)
	if err != nil {
		return nil, err
	}
	e := &entry{shared: s, hold: hold, encoded: map[form][][]byte{}}
	e.step = steps(result, s.expression.Text(), ms, s.key.step, 1)[0]
	if err := hold.Resize(e.bytes()); err != nil {
		return nil, err
	}
	return e, nil
}

// give gives up an evaluation that others may still want. If nobody does, who asks next
// begins another one.
func (s *shared) give(ms int64, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.waiting--
	if f.waiting > 0 {
		return
	}
	f.cancel()
	if s.flights[ms] == f {
		delete(s.flights, ms)
	}
}

// take returns what an evaluation came to, nil if it failed.
func (s *shared) take(f *flight) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.waiting--
	if f.entry != nil {
		f.entry.users++
	}
	return f.entry
}

// evictOldest keeps the latest steps.
func (s *shared) evictOldest() {
	for len(s.entries) > ringSteps {
		oldest := latest
		for ms := range s.entries {
			oldest = min(oldest, ms)
		}
		s.evict(oldest)
	}
}

// evict forgets a step. The caller holds the lock.
func (s *shared) evict(ms int64) {
	e := s.entries[ms]
	delete(s.entries, ms)
	e.evicted = true
	e.releaseUnused()
}
