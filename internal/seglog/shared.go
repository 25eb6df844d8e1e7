package seglog

import (
	"sync"

	"github.com/promgrpc/exporter/internal/invariant"
)

// sharedFile is the open file of a segment, shared by all readers of the segment. So a
// log has at most as many files open as it has segments, however many readers there are.
type sharedFile struct {
	mu    sync.Mutex
	f     file // nil while nobody reads
	users int
}

// open returns the segment's file. Each user closes its own.
func (s *segFile) open(fs filesystem) (*sharedReader, error) {
	x := &s.shared
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.f == nil {
		f, err := fs.Open(s.path)
		if err != nil {
			return nil, err
		}
		x.f = f
	}
	x.users++
	return &sharedReader{of: x, f: x.f}, nil
}

// sharedReader is one user's share of a file. It is for one goroutine.
type sharedReader struct {
	of *sharedFile
	f  file
}

// ReadAt implements [io.ReaderAt].
func (o *sharedReader) ReadAt(b []byte, offset int64) (int, error) { return o.f.ReadAt(b, offset) }

// close ends the share; it must be called once. The last user's call closes the file.
func (o *sharedReader) close() {
	x := o.of
	x.mu.Lock()
	defer x.mu.Unlock()
	if invariant.On {
		invariant.Check(x.users > 0, "a file was closed more often than opened")
	}
	if x.users--; x.users == 0 {
		_ = x.f.Close() // was only read
		x.f = nil
	}
}
