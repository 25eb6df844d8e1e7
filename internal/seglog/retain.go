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
// oldest first, never the newest of a log that has not ended. Readers that have one open read it
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
	s.grown = 0
	for s.o.RetentionSize > 0 && s.countLocked() > s.o.RetentionSize-s.growth() {
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
	s.sayOver(s.countLocked())
}

// growth is how much may be written before retention is looked at again.
func (s *Store) growth() int64 { return s.o.RetentionSize / 16 }

// grew notes that so many bytes were written, and looks at retention when they are
// many: the bound on the size is to hold between rotations, too.
func (s *Store) grew(n int) {
	if s.o.RetentionSize == 0 {
		return
	}
	s.mu.Lock()
	s.grown += int64(n)
	due := s.grown > s.growth()
	s.mu.Unlock()
	if due {
		s.retain()
	}
}

// sayOver warns, once until it is kept again, that the bound on the size cannot be
// kept, since nothing more may be deleted. The caller holds the lock.
func (s *Store) sayOver(size int64) {
	over := s.o.RetentionSize > 0 && size > s.o.RetentionSize
	if over && !s.over {
		s.log.Warn("--storage.retention.size cannot be kept: the newest segment of each log always stays",
			"retention_size", s.o.RetentionSize, "size", size, "logs", len(s.open))
	}
	s.over = over
}

// oldest returns a segment that may be deleted, and when the next began: by
// then its last block was written.
func (l *Log) oldest() (*segFile, time.Time) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case len(l.segs) == 1 && l.ended:
		return l.segs[0], time.UnixMilli(l.segs[0].header.CreateTime).Add(l.store.o.SegmentDuration)
	case len(l.segs) < 2:
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
	if l.ended && len(l.Segments()) == 0 {
		s.removeLog(l.id)
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
