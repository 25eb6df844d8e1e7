package history

import (
	"math"
	"time"
)

// sweepLoop looks now and then for what is no longer of use.
func (s *Store) sweepLoop() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			s.sweep(time.Now())
		}
	}
}

// sweep removes the parts of segments that are gone, writes what was decoded for somebody
// who has not come again, and merges the parts of segments that have become complete.
func (s *Store) sweep(now time.Time) {
	missing := map[key]need{}
	for _, log := range s.logs.Opened() {
		for _, n := range needsOf(log, math.MinInt64, math.MaxInt64) {
			missing[key{log.ID(), n.first}] = n
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, en := range s.entries {
		n, there := missing[k]
		if len(en.parts) > 0 || en.building != nil {
			delete(missing, k)
		}
		switch {
		case en.users > 0 || en.building != nil:
		case !there:
			s.drop(en)
		case en.decoding != nil && now.Sub(en.used) > idleAfter:
			s.startFlush(en)
		case n.final && en.decoding == nil && len(en.parts) > 1 && !en.merged:
			en.merged = true
			s.run(en, func(t *turns) error { return s.merge(t, en) })
		case len(en.parts) == 0 && en.decoding == nil:
			delete(s.entries, k)
		}
	}
	if s.o.Sealed {
		s.buildSealed(missing)
	}
}

// startFlush has what was decoded written, and the memory given back. The caller holds the
// lock.
func (s *Store) startFlush(en *entry) {
	s.run(en, func(t *turns) error {
		err := s.flush(t, en)
		s.mu.Lock()
		en.stop()
		s.mu.Unlock()
		if err != nil || len(en.parts) < mostParts {
			return err
		}
		return s.merge(t, en)
	})
}

// buildSealed makes the parts of the newest complete segment that has none, unless one is
// being made. The caller holds the lock.
func (s *Store) buildSealed(missing map[key]need) {
	if s.sealed != nil {
		select {
		case <-s.sealed.done:
		default:
			return
		}
	}
	var newest *need
	for _, n := range missing {
		if n.final && !n.remote && (newest == nil || n.created.After(newest.created)) {
			newest = &n
		}
	}
	if newest != nil {
		s.sealed = s.start(s.entry(key{newest.log.ID(), newest.first}), *newest)
	}
}
