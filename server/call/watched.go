package call

import (
	"context"
	"sync"
	"time"

	"github.com/promgrpc/exporter/server/refusal"
)

// watched are the calls whose callers had to be let in. When the access file changes,
// those end that may do something else than they might when they began: at their next
// attempt they are told what that is.
type watched struct {
	mu    sync.Mutex
	calls map[*Call]struct{}
}

// rightsChecked is how often it is checked whether the access file has changed.
const rightsChecked = 500 * time.Millisecond

func (w *watched) add(c *Call) {
	if c.from.Version == nil {
		return // Nobody has to be let in.
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls == nil {
		w.calls = map[*Call]struct{}{}
	}
	w.calls[c] = struct{}{}
}

func (w *watched) remove(c *Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.calls, c)
}

// WatchRights ends the streams of callers whose rights have changed, until ctx ends.
func (s *Calls) WatchRights(ctx context.Context) error {
	ticker := time.NewTicker(rightsChecked)
	defer ticker.Stop()
	for {
		s.endWithoutRights()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Calls) endWithoutRights() {
	version := s.Admission.Version()
	s.watched.mu.Lock()
	defer s.watched.mu.Unlock()
	for c := range s.watched.calls {
		if c.from.Version == version {
			continue
		}
		c.from.Version = version
		if now, err := s.Admission.Of(c.from.Identity); err != nil || !now.Same(c.from.Rights) {
			c.cancel(refusal.ErrRightsChanged)
		}
	}
}
