package history

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/postings"
	"github.com/promgrpc/exporter/server/selection"
)

// use is a segment that a selection reads. Its parts stay until it is released.
type use struct {
	entry    *entry
	parts    []opened
	decoding *decoding // nil: all is in the parts
	run      *run
	view     *postings.View
}

// errGone says that retention has removed a segment.
var errGone = errors.New("the segment is gone")

// use returns a segment up to a block, once it is there.
func (s *Store) use(e *selection.Evaluation, n need) (*use, error) {
	for {
		u, b, err := s.tryUse(n)
		if u != nil || err != nil {
			return u, err
		}
		e.Pause()
		if err := s.wait(e.Context(), b); err != nil {
			return nil, s.orGone(n, err)
		}
	}
}

// tryUse returns a segment if it is there, and what makes it otherwise.
func (s *Store) tryUse(n need) (*use, *build, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, nil, seglog.ErrClosed
	}
	en := s.entry(key{n.log.ID(), n.first})
	en.used = time.Now()
	if en.ready(n) {
		u, err := s.openAll(en)
		if err == nil || !errors.Is(err, os.ErrNotExist) || en.users > 0 || en.building != nil {
			return u, nil, err
		}
		s.tellDamaged(en.parts[0], err) // Somebody has removed a file.
		s.drop(en)
		en = s.entry(en.key)
	}
	b := en.building
	if b == nil {
		b = s.start(en, n)
	}
	b.waiters++
	return nil, b, nil
}

// ready says whether all that is needed is there. The caller holds the lock.
func (en *entry) ready(n need) bool {
	last := n.last
	if en.damaged {
		last = min(last, en.readable)
	}
	return en.of == n.log && en.covered() >= last && (!n.final || en.decoding == nil)
}

// openAll opens all that there is of a segment. The caller holds the lock.
func (s *Store) openAll(en *entry) (*use, error) {
	u := &use{entry: en}
	for _, p := range en.parts {
		o, err := s.open(p)
		if err != nil {
			u.close()
			return nil, err
		}
		u.parts = append(u.parts, o)
	}
	if en.decoding != nil && en.building == nil { // Otherwise the parts have it all.
		u.decoding = en.decoding
		u.run, u.view = u.decoding.view()
	}
	en.users++
	return u, nil
}

func (u *use) close() {
	for i := range u.parts {
		u.parts[i].close()
	}
}

// wait waits until a build is over.
func (s *Store) wait(ctx context.Context, b *build) error {
	select {
	case <-b.done:
		if errors.Is(b.err, errGivenUp) && s.ctx.Err() == nil {
			return nil // because of others
		}
		return b.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.waiters--; b.waiters == 0 {
		b.cancel()
		if en := b.entry; en.users == 0 && en.building == nil { // It was over, and nobody uses it.
			s.forget(en)
		}
	}
	return context.Cause(ctx)
}

// orGone makes an error errGone if retention has removed the segment.
func (s *Store) orGone(n need, err error) error {
	for _, info := range n.log.Segments() {
		if info.FirstSequence == n.first {
			return err
		}
	}
	var gone *seglog.OutOfRangeError
	if errors.As(err, &gone) || errors.Is(err, os.ErrNotExist) {
		return errGone
	}
	return err
}

// release ends a use. What is in memory goes with the last one.
func (s *Store) release(u *use) {
	u.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	en := u.entry
	if en.users--; en.users > 0 || en.building != nil {
		return
	}
	s.forget(en)
}

// forget gives up the parts in memory, and what comes after them. The caller holds the
// lock, and nobody uses or builds it.
func (s *Store) forget(en *entry) {
	i := slices.IndexFunc(en.parts, func(p *stored) bool { return p.name == "" })
	if i < 0 {
		return
	}
	en.stop()
	for _, p := range en.parts[i:] {
		s.remove(p)
	}
	en.parts = en.parts[:i]
}

// damaged removes what there is of a segment, since a part is damaged. Who reads it goes
// on.
func (s *Store) damaged(u *use, err error) {
	for en := u.entry; ; {
		s.mu.Lock()
		b := en.building
		if b == nil {
			if s.entries[en.key] == en && len(en.parts) > 0 {
				s.tellDamaged(en.parts[0], err)
				s.drop(en)
			}
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		b.cancel()
		<-b.done
	}
}

func (s *Store) tellDamaged(p *stored, err error) {
	s.metrics.damaged.Inc()
	s.log.Warn("a part of the index is of no use, and is made anew", "file", filepath.Join(s.path, p.name), "err", err)
}
