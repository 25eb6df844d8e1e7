package seglog

import "sync"

// sharedFile is the open file of a segment. All who read the segment have it in
// common, so that the files of a log that are open are as many as its segments at
// most, however many read it.
type sharedFile struct {
	mu    sync.Mutex
	f     file // nil while nobody reads
	users int
}

// open returns the segment's file, which each user closes.
func (s *segFile) open(fs filesystem) (*segReader, error) {
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
	return &segReader{of: x, f: x.f}, nil
}

// segReader is a shared file as one user has it. It is for one goroutine.
type segReader struct {
	of *sharedFile
	f  file
}

// ReadAt implements [io.ReaderAt].
func (o *segReader) ReadAt(b []byte, offset int64) (int, error) { return o.f.ReadAt(b, offset) }

// close gives the file back, once. The last who does closes it.
func (o *segReader) close() {
	x := o.of
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.users--; x.users == 0 {
		_ = x.f.Close() // was only read
		x.f = nil
	}
}
