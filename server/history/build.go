package history

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
)

// build is what is being made of a segment, for all who wait for it.
type build struct {
	entry   *entry
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // after done
	waiters int
}

// need is a segment up to a block.
type need struct {
	log   *seglog.Log
	first uint64
	last  uint64
	// final says that no block will come after it.
	final bool
	// remote says that it is read from the bucket.
	remote  bool
	created time.Time
}

// errGivenUp says that nobody waits any more.
var errGivenUp = errors.New("nobody waits for the index any more")

// start starts the build of a segment up to a block. The caller holds the lock.
func (s *Store) start(en *entry, n need) *build {
	return s.run(en, func(t *turns) error { return s.build(t, en, n) })
}

// run does work on a segment. The caller holds the lock, and nobody else builds.
func (s *Store) run(en *entry, work func(*turns) error) *build {
	ctx, cancel := context.WithCancel(s.ctx)
	b := &build{entry: en, cancel: cancel, done: make(chan struct{})}
	en.building = b
	s.running.Go(func() {
		defer cancel()
		t := turns{ctx: ctx, budget: s.o.Decodes, hold: s.o.Decodes.Hold(holder)}
		err := work(&t)
		t.hold.Release()
		s.mu.Lock()
		defer s.mu.Unlock()
		en.building, b.err = nil, err
		if err != nil && !errors.Is(err, errGivenUp) {
			en.stop()
			if b.waiters == 0 {
				s.told.Log(slog.LevelWarn, "index of a segment is not made", "log_id", en.log.String(), "first_sequence", en.first, "err", err)
			}
		}
		if en.users == 0 && b.waiters == 0 {
			s.forget(en)
		}
		close(b.done)
	})
	return b
}

// build decodes a segment up to a block.
func (s *Store) build(t *turns, en *entry, n need) error {
	if err := s.compare(t.ctx, en, n.log); err != nil {
		return err
	}
	after := en.written()
	if after < n.last || n.final && en.decoding != nil {
		if err := s.decode(t, en, n, after); err != nil {
			return err
		}
	}
	if !n.final {
		return nil
	}
	if en.decoding != nil {
		if err := s.flush(t, en); err != nil {
			return err
		}
		s.mu.Lock()
		en.stop()
		s.mu.Unlock()
	}
	return s.merge(t, en)
}

// decode moves the decoding of a segment on, to a block that is after those of the parts.
func (s *Store) decode(t *turns, en *entry, n need, after uint64) error {
	if en.decoding == nil {
		d, err := newDecoding(n.log, en.first, t.wait)
		if err != nil {
			return s.unreadable(en, en.first-1, err)
		}
		s.mu.Lock()
		en.decoding = d
		s.mu.Unlock()
	}
	d := en.decoding
	d.reader.Wait = t.wait
	defer func() {
		d.settleAll()
		_ = en.hold.Resize(d.size() + d.run.size()) // It is less.
	}()
	for !d.ended && (d.last < n.last || n.final) {
		if err := t.step(); err != nil {
			return err
		}
		more, err := d.next(after)
		if err != nil {
			d.ended = true
			if err := s.unreadable(en, d.last, err); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		if after, err = s.keepRoom(t, en, after); err != nil {
			return err
		}
	}
	return nil
}

// compare removes the parts that are of another log than the one at hand: one that was
// opened again may have lost its end.
func (s *Store) compare(ctx context.Context, en *entry, log *seglog.Log) error {
	if en.of == log {
		return nil
	}
	s.mu.Lock()
	parts := slices.Clone(en.parts)
	s.mu.Unlock()
	good := 0
	for _, p := range parts {
		sum, err := s.sumOf(p)
		if err != nil {
			break
		}
		if have, ok, err := log.Checksum(ctx, p.to); err != nil || !ok || have != sum {
			break
		}
		p.sum = sum
		good++
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if good < len(parts) {
		s.tellDamaged(parts[good], errors.New("it is not of this log"))
	}
	for _, p := range parts[good:] {
		s.remove(p)
	}
	en.parts, en.of, en.damaged = en.parts[:good], log, false
	en.stop()
	return nil
}

// sumOf returns the checksum of a part's last block, as the part says.
func (s *Store) sumOf(p *stored) (uint32, error) {
	o, err := s.open(p)
	if err != nil {
		return 0, err
	}
	defer o.close()
	read, err := openPart(o.r, o.size)
	if err != nil {
		return 0, err
	}
	if read.span != p.span {
		return 0, errDamaged
	}
	return read.sum, nil
}

// unreadable notes that a segment cannot be read after a block, if that is because of a
// damage. What comes before is of use.
func (s *Store) unreadable(en *entry, last uint64, err error) error {
	var damage *seglog.DamageError
	if !errors.As(err, &damage) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	en.damaged, en.readable = true, last
	return nil
}

const (
	// partBytes is what a run may take in memory before it is written.
	partBytes = 96 << 20
	// mostParts of a segment that is still written are merged.
	mostParts = 8
)

// keepRoom takes room for what was decoded, and writes the run if it is large, or there is
// no room. It returns the last block that the parts have.
func (s *Store) keepRoom(t *turns, en *entry, after uint64) (uint64, error) {
	d := en.decoding
	size := d.size() + d.run.size()
	err := en.hold.Resize(size)
	switch {
	case err != nil && d.run.series == 0 && len(d.waiting) == 0:
		return after, err
	case err == nil && d.run.size() < s.partBytes:
		return after, nil
	}
	if err := s.flush(t, en); err != nil {
		return after, err
	}
	if err := en.hold.Resize(d.size()); err != nil {
		return after, err
	}
	if len(en.parts) >= mostParts {
		return d.last, s.merge(t, en)
	}
	return d.last, nil
}

// flush writes the run.
func (s *Store) flush(t *turns, en *entry) error {
	d := en.decoding
	d.settleAll()
	if d.last < d.run.from {
		return nil
	}
	sp := span{log: en.log, segment: en.first, from: d.run.from, to: d.last}
	p, err := s.write(sp, d.sum, func(w io.Writer) error { return d.write(w, sp, t.step) })
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	en.parts = append(en.parts, p)
	d.run = &run{from: d.last + 1}
	return nil
}

// turns is a turn to decode, which is passed on after a while.
type turns struct {
	ctx    context.Context
	budget *limit.Budget
	hold   *limit.Hold
	since  time.Time
}

// turnTime is how long a build works while others wait.
const turnTime = 20 * time.Millisecond

// step is called before each piece of work.
func (t *turns) step() error {
	if t.ctx.Err() != nil {
		return errGivenUp
	}
	if t.hold.Held() > 0 {
		if time.Since(t.since) < turnTime {
			return nil
		}
		if t.since = time.Now(); t.budget.Waiting() == 0 {
			return nil
		}
		t.hold.Release()
	}
	if err := t.hold.Wait(t.ctx, 1); err != nil {
		if t.ctx.Err() != nil {
			return errGivenUp
		}
		return err
	}
	t.since = time.Now()
	return nil
}

// wait is the [seglog.Wait] of a build: others have its turn while the bucket is read.
func (t *turns) wait(done <-chan struct{}) error {
	t.hold.Release()
	select {
	case <-done:
		return t.step()
	case <-t.ctx.Done():
		return errGivenUp
	}
}
