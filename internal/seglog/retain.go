package seglog

import (
	"errors"
	"os"
	"time"
)

func (s *Store) retainLoop() {
	t := time.NewTicker(retainEvery)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			s.retain()
		}
	}
}

// retain deletes the segments of the open logs that are over the retention, the
// oldest first, never the newest of a log. Readers that have one open read it
// to its end.
func (s *Store) retain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	for _, l := range s.open {
		for s.o.RetentionTime > 0 {
			old, until := l.oldest()
			if old == nil || now.Sub(until) <= s.o.RetentionTime || !s.delete(l, old, "time") {
				break
			}
		}
	}
	for s.o.RetentionSize > 0 && s.countLocked() > s.o.RetentionSize {
		var from *Log
		var oldest *segFile
		var until time.Time
		for _, l := range s.open {
			if f, t := l.oldest(); f != nil && (oldest == nil || t.Before(until)) {
				from, oldest, until = l, f, t
			}
		}
		if oldest == nil || !s.delete(from, oldest, "size") {
			break
		}
	}
	s.countLocked()
}

// oldest returns a segment that may be deleted, and when the next began: by
// then its last block was written.
func (l *Log) oldest() (*segFile, time.Time) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segs) < 2 {
		return nil, time.Time{}
	}
	return l.segs[0], time.UnixMilli(l.segs[1].header.CreateTime)
}

func (s *Store) delete(l *Log, f *segFile, why string) bool {
	l.remove(f) // before the file, so that no reader looks for it in vain
	if err := s.fs.Remove(f.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Error("delete segment", "file", f.path, "err", err)
		l.putBack(f)
		return false
	}
	s.metrics.deletes.Inc()
	s.log.Info("segment deleted by retention", "file", f.path, "retention", why)
	return true
}

// countLocked sets the gauges and returns the bytes of all open logs.
func (s *Store) countLocked() int64 {
	var n, size int64
	for _, l := range s.open {
		l.mu.RLock()
		n += int64(len(l.segs))
		for _, f := range l.segs {
			size += f.size
		}
		l.mu.RUnlock()
	}
	s.metrics.segments.Set(float64(n))
	s.metrics.size.Set(float64(size))
	return size
}
