package seglog

import (
	"context"
	"errors"
	"log/slog"
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

// retain deletes segments of the open logs that are beyond the retention, the oldest
// first, but never the newest of a log that has not ended, nor what a Remote does not have
// while there is one. A reader that has a deleted segment open reads it to its end.
func (s *Store) retain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	for _, l := range s.open {
		for s.o.RetentionTime > 0 {
			old, until := l.oldest(now, s.o.Remote != nil)
			if old == nil || now.Sub(until) <= s.o.RetentionTime || !s.delete(l, old, "time") {
				break
			}
		}
	}
	s.grown = 0
	for s.o.RetentionSize > 0 && s.countLocked() > s.o.RetentionSize-s.growth() {
		if !s.deleteOldest(now, s.o.Remote != nil, "size") {
			break
		}
	}
	for s.o.RetentionSize > 0 && s.o.Remote != nil && s.countLocked() > unarchivedFactor*s.o.RetentionSize {
		if !s.deleteOldest(now, false, lost) {
			break
		}
	}
	s.warnOver(s.countLocked())
}

const (
	// unarchivedFactor times RetentionSize is what may be on the disk before segments are
	// deleted that the Remote does not have.
	unarchivedFactor = 2
	lost             = "size, before it was in the bucket"
)

// deleteOldest deletes the oldest segment of all logs, or of those that are archived, and
// says whether there was one. The caller holds the lock.
func (s *Store) deleteOldest(now time.Time, archived bool, why string) bool {
	var from *Log
	var oldest *segFile
	var until time.Time
	for _, l := range s.open {
		if f, t := l.oldest(now, archived); f != nil && (oldest == nil || t.Before(until)) {
			from, oldest, until = l, f, t
		}
	}
	return oldest != nil && s.delete(from, oldest, why)
}

// growth is how many bytes may be written before retention is checked again.
func (s *Store) growth() int64 { return s.o.RetentionSize / 16 }

// grew counts bytes that were written, and checks retention after many of them, so that
// the bound on the size holds between rotations, too.
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

// warnOver warns that the bound on the size cannot be kept, since nothing more may be
// deleted: once, until it is kept again. The caller holds the lock.
func (s *Store) warnOver(size int64) {
	over := s.o.RetentionSize > 0 && size > s.o.RetentionSize
	if over && !s.over {
		s.log.Warn("--storage.retention.size cannot be kept: the newest segment of each log always stays, and what is not in the bucket that there is",
			"retention_size", s.o.RetentionSize, "size", size, "logs", len(s.open), "bucket", s.o.Remote != nil)
	}
	s.over = over
}

// oldest returns the oldest segment on the disk that may be deleted, of those that are
// archived or of all, nil if there is none, and when the next one was started: its last
// block is not younger. A writer whose clock was ahead once says of all that it starts
// later, too, that it is of the future: then it is when the files were written that counts.
func (l *Log) oldest(now time.Time, archived bool) (*segFile, time.Time) {
	f, until := l.oldestSaid(archived)
	if f == nil || !until.After(now) {
		return f, until
	}
	modified := l.modified()
	for _, segment := range l.Segments() {
		if at, ok := modified[segment.Name]; ok && !at.After(now) {
			return f, at
		}
	}
	return f, until
}

// oldestSaid is oldest by what the segments say.
func (l *Log) oldestSaid(archived bool) (*segFile, time.Time) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i, s := range l.segs {
		switch newest := i == len(l.segs)-1; {
		case !s.local || archived && !s.archived() && s.last >= l.expired:
			continue
		case !newest:
			return s, time.UnixMilli(l.segs[i+1].header.CreateTime)
		case l.ended:
			return s, time.UnixMilli(s.header.CreateTime).Add(l.store.o.SegmentDuration)
		}
	}
	return nil, time.Time{}
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
	level := slog.LevelInfo
	if why == lost {
		level = slog.LevelError
		s.metrics.lost.Inc()
	}
	s.log.Log(context.Background(), level, "segment deleted by retention", "file", f.path, "retention", why)
	return true
}

// countLocked sets the gauges and returns the bytes of all open logs.
func (s *Store) countLocked() int64 {
	var n, size int64
	for _, l := range s.open {
		l.mu.RLock()
		for _, f := range l.segs {
			if f.local {
				n++
				size += f.size
			}
		}
		l.mu.RUnlock()
	}
	s.metrics.segments.Set(float64(n))
	s.metrics.size.Set(float64(size))
	return size
}
