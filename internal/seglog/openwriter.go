package seglog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/promgrpc/exporter/internal/private"
	"github.com/promgrpc/exporter/internal/segment"
)

// OpenWriter opens the latest log of the store, or creates the first, and rebuilds the
// state from its newest segment. If blocks may be missing at its end, servers may have
// them: so the log ends, and a new one starts with the state as far as it is there.
// Damage in the newest segment is a *DamageError, and nothing is changed. Damage in
// older segments is logged, and readers get it when they come to it.
func (s *Store) OpenWriter(state Restorer) (*Writer, error) {
	w, err := s.openLatest(state)
	if err == nil {
		s.removeUnstarted(w.log.id)
	}
	return w, err
}

func (s *Store) openLatest(state Restorer) (*Writer, error) {
	id, ok, err := s.latestLog()
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if !ok {
		return s.CreateWriter(state)
	}
	w, err := s.openWriter(id, state, state)
	if !errors.Is(err, errIncomplete) {
		return w, err
	}
	s.log.Error("log cannot be continued, starting a new log", "log_id", id.String(), "err", err)
	cause := err
	if w, err = s.CreateWriter(state); err == nil {
		w.renewed = cause
	}
	return w, err
}

// CreateWriter creates a log that starts with a keyframe of the state. Other logs of
// the store stay as they are.
func (s *Store) CreateWriter(state State) (*Writer, error) {
	id := segment.NewLogID()
	w, err := s.openWriter(id, state, nil)
	if err != nil {
		s.removeLog(id)
	}
	return w, err
}

// latestLog returns the log that the store's link points at or, if there is no link, the
// only one.
func (s *Store) latestLog() (segment.LogID, bool, error) {
	ids, err := s.logs()
	if err != nil || len(ids) == 0 {
		return segment.LogID{}, false, err
	}
	target, err := s.fs.Readlink(filepath.Join(s.path, latestName))
	if errors.Is(err, private.ErrPlanted) {
		return segment.LogID{}, false, err
	}
	if err == nil {
		if id, err := segment.ParseLogID(filepath.Dir(target)); err == nil {
			if slices.Contains(ids, id) {
				return id, true, nil
			}
			return id, false, fmt.Errorf("%s points at a log that is not there", filepath.Join(s.path, latestName))
		}
	}
	if len(ids) > 1 {
		return segment.LogID{}, false, fmt.Errorf("%d logs in %s and no link %q to say which is the latest", len(ids), s.path, latestName)
	}
	return ids[0], true, nil
}

func (s *Store) openWriter(id segment.LogID, state State, a Applier) (_ *Writer, err error) {
	l, files, err := s.openLog(id)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", id, err)
	}
	w := &Writer{store: s, log: l, state: state, stop: make(chan struct{})}
	defer func() {
		if err != nil {
			w.abandon()
			err = fmt.Errorf("open log %s: %w", id, err)
		}
	}()
	if err := s.makeDir(l); err != nil {
		return nil, err
	}
	if w.act, err = s.restore(l, files, a, writing); err != nil {
		return nil, err
	}
	if err := s.checkEnd(l); err != nil {
		return nil, err
	}
	if w.act != nil {
		// What a killed process wrote may be in the page cache only.
		if err := w.act.f.Sync(); err != nil {
			return nil, err
		}
	}
	if w.end, err = s.openEnd(l); err != nil {
		return nil, err
	}
	if w.act != nil {
		w.onDisk(&w.act.tail)
		w.encoder = w.act.decoder.Encoder()
		w.act.decoder = nil
		if err := s.link(l, w.act.seg.name); err != nil {
			return nil, err
		}
	}
	if w.act == nil || w.act.tail.sealed {
		if err := w.rotate(); err != nil {
			return nil, err
		}
	}
	if s.o.Sync == SyncInterval {
		w.stopped.Go(w.syncLoop)
	}
	s.retain()
	return w, nil
}

// abandon closes what a writer that could not be opened has open.
func (w *Writer) abandon() {
	if w.act != nil {
		_ = w.act.f.Close()
	}
	if w.end != nil {
		_ = w.end.close(false)
	}
	w.store.closeLog(w.log)
}
