package seglog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// Remote opens segments that are not on this disk. Its methods, and those of what it
// opens, may be called by any number of goroutines, and take a bounded time. An error
// that may pass wraps ErrRemote, as does any other that is not ErrRemoteGone: it is
// never noted as damage.
type Remote interface {
	OpenSegment(log segment.LogID, name string) (RemoteSegment, error)
}

// RemoteSegment is a segment that a Remote has, whole.
type RemoteSegment interface {
	io.ReaderAt
	Close() error
}

var (
	// ErrRemote says that a segment cannot be read from the Remote now.
	ErrRemote = errors.New("segment cannot be read from the bucket now")
	// ErrRemoteGone says that the Remote keeps a segment no more.
	ErrRemoteGone = errors.New("segment is not kept in the bucket any more")
)

// RemoteInfo is what is known of a segment without reading it: from its name, its size
// and its footer.
type RemoteInfo struct {
	Name                        string
	FirstSequence, LastSequence uint64
	CreateTime                  time.Time
	Size                        int64
	// Checksum of the last block.
	Checksum uint32
	// MinTime and MaxTime of the samples in its blocks, in ms.
	MinTime, MaxTime int64
}

// Wait is called while a Remote is read, by the reader's goroutine. It returns when done
// is closed, or before with the error that ends the reading: the Remote's answer is then
// waited for by nobody.
type Wait func(done <-chan struct{}) error

// WaitFor waits until ctx ends.
func WaitFor(ctx context.Context) Wait {
	return func(done <-chan struct{}) error {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wait is the Wait of those who have none: until the log is closed.
func (l *Log) wait(done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-l.closed:
		return ErrClosed
	}
}

// remoteReader reads a segment of a Remote. It is for one goroutine.
type remoteReader struct {
	of   RemoteSegment
	wait Wait
	// left says that a read goes on that nobody waits for.
	left bool
}

// openRemote opens a segment of the Remote, for one reader: so nobody waits for a lock
// that is held by one who waits for the Remote.
func (l *Log) openRemote(s *segFile, wait Wait) (segReader, error) {
	if wait == nil {
		wait = l.wait
	}
	var of RemoteSegment
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		of, err = l.store.o.Remote.OpenSegment(l.id, s.name)
	}()
	if ended := wait(done); ended != nil {
		go func() {
			if <-done; err == nil {
				_ = of.Close()
			}
		}()
		return nil, &givenUpError{ended}
	}
	if err != nil {
		return nil, remoteError(err)
	}
	return &remoteReader{of: of, wait: wait}, nil
}

// ReadAt implements [io.ReaderAt]. After an error of its Wait, b belongs to the Remote.
func (r *remoteReader) ReadAt(b []byte, offset int64) (int, error) {
	if r.left {
		return 0, fmt.Errorf("%w: an earlier read was given up", ErrRemote)
	}
	var n int
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		n, err = r.of.ReadAt(b, offset)
	}()
	if ended := r.wait(done); ended != nil {
		r.left = true
		go func() {
			<-done
			_ = r.of.Close()
		}()
		return 0, &givenUpError{ended}
	}
	if n == len(b) {
		return n, nil
	}
	return n, remoteError(err)
}

func (r *remoteReader) close() {
	if !r.left {
		_ = r.of.Close() // was only read
	}
}

// givenUpError says why a Remote's answer was not waited for.
type givenUpError struct{ err error }

func (e *givenUpError) Error() string { return "segment is not read any more: " + e.err.Error() }

func (e *givenUpError) Unwrap() error { return e.err }

// remoteError is an error of a Remote, which is taken to pass unless it says otherwise.
func remoteError(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, ErrRemote) || errors.Is(err, ErrRemoteGone) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrRemote, err)
}

// segReader is what one reader has of a segment, of the disk or of the Remote.
type segReader interface {
	io.ReaderAt
	close() // is called once
}

// openSegment opens a segment where it is. The error is errDeleted if it is nowhere any
// more.
func (l *Log) openSegment(s *segFile, wait Wait) (segReader, error) {
	for {
		local, known := l.where(s)
		switch {
		case local:
			r, err := s.open(l.store.fs)
			if err == nil {
				return r, nil
			}
			if local, known = l.where(s); local && known {
				return nil, err
			}
			if !known {
				return nil, errDeleted
			}
		case known:
			r, err := l.openRemote(s, wait)
			if errors.Is(err, ErrRemoteGone) {
				l.forget(s)
				return nil, errDeleted
			}
			return r, err
		default:
			return nil, errDeleted
		}
	}
}

// where says whether a segment is on the disk, and whether it is in the log at all.
func (l *Log) where(s *segFile) (local, known bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return s.local, slices.Contains(l.segs, s)
}

// forget removes a segment that the Remote keeps no more.
func (l *Log) forget(s *segFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remote = slices.DeleteFunc(slices.Clone(l.remote), func(i RemoteInfo) bool { return i.Name == s.name })
	l.mergeRemote()
}

// SetRemote says which segments of the log the Remote has, sorted, in place of those that
// it was said to have before. One that is on the disk too is archived; one that is not is
// read from the Remote, once the log has come to its end here.
func (l *Log) SetRemote(infos []RemoteInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remote = slices.Clone(infos)
	l.mergeRemote()
	l.change.Wake()
}

// mergeRemote makes the log's segments those of the disk and those of the Remote that lie
// between them. The caller holds the lock.
func (l *Log) mergeRemote() {
	infos := make(map[string]*RemoteInfo, len(l.remote))
	for i := range l.remote {
		infos[l.remote[i].Name] = &l.remote[i]
	}
	var local []*segFile
	remote := map[string]*segFile{}
	for _, s := range l.segs {
		if s.local {
			local = append(local, s)
			s.remote = infos[s.name]
		} else {
			remote[s.name] = s
		}
	}
	merged := make([]*segFile, 0, len(local)+len(infos))
	until := uint64(0) // where the last one that was taken ends
	for i := range l.remote {
		info := &l.remote[i]
		for len(local) > 0 && local[0].first <= info.FirstSequence {
			until = max(until, local[0].last)
			merged, local = append(merged, local[0]), local[1:]
		}
		if !l.fits(info, until, local) {
			continue
		}
		s := remote[info.Name]
		if s == nil || s.last != info.LastSequence || s.size != info.Size {
			s = l.newRemoteFile(info)
		}
		s.remote = info
		merged, until = append(merged, s), info.LastSequence
	}
	l.segs = append(merged, local...)
	if l.remoteOnly && len(l.segs) > 0 {
		newest := l.segs[len(l.segs)-1]
		l.last, l.sum = newest.last, newest.sum
	}
}

// fits says whether a segment of the Remote lies between where those before it end and
// those of the disk that follow, and before the end of the log.
func (l *Log) fits(info *RemoteInfo, until uint64, following []*segFile) bool {
	first, ok := parseName(info.Name)
	switch {
	case !ok || first != info.FirstSequence || info.LastSequence < first || first <= until:
		return false
	case !l.remoteOnly && info.LastSequence > l.last:
		return false
	}
	return len(following) == 0 || info.LastSequence < following[0].first
}

func (l *Log) newRemoteFile(info *RemoteInfo) *segFile {
	s := newSegFile(l.dir, info.Name, info.FirstSequence)
	s.local, s.sealed = false, true
	s.last, s.sum, s.size, s.min, s.max = info.LastSequence, info.Checksum, info.Size, info.MinTime, info.MaxTime
	return s
}

// archived says whether the Remote has all of a segment. The log's lock is held.
func (s *segFile) archived() bool {
	return s.remote != nil && s.remote.LastSequence == s.last && s.remote.Checksum == s.sum && s.remote.Size >= s.size
}

// OpenRemote opens a log of which nothing is on this disk, to be read. It is closed by
// [Log.CloseRemote].
func (s *Store) OpenRemote(id segment.LogID, infos []RemoteInfo) (*Log, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.o.Remote == nil:
		return nil, fmt.Errorf("open log %s: the store has no remote segments", id)
	case s.open[id] != nil:
		return nil, fmt.Errorf("log %s is open already", id)
	}
	l := newLog(s, id)
	l.remoteOnly, l.ring.limit = true, 0
	l.SetRemote(infos)
	s.open[id] = l
	return l, nil
}

// CloseRemote ends the readers of a log that OpenRemote opened.
func (l *Log) CloseRemote() {
	l.mu.RLock()
	open := l.remoteOnly && l.err == nil
	l.mu.RUnlock()
	if open {
		l.store.closeLog(l)
	}
}

// FirstLocal is the oldest sequence on this disk or, if there is none, the next.
func (l *Log) FirstLocal() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.segs {
		if s.local {
			return s.first
		}
	}
	return l.last + 1
}

// segmentAt returns the index of the newest segment whose first sequence is not above
// seq, below 0 if there is none. The caller holds the lock.
func (l *Log) segmentAt(seq uint64) int {
	i, found := slices.BinarySearchFunc(l.segs, seq, func(s *segFile, seq uint64) int { return cmp.Compare(s.first, seq) })
	if found {
		return i
	}
	return i - 1
}
