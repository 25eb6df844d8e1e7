package seglog

import (
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
)

// faultFS is the real filesystem with faults: an operation that changes
// something fails when its turn has come, and the power can be cut.
type faultFS struct {
	osFS
	rnd *rand.Rand

	mu sync.Mutex
	// left is the number of operations that still succeed; then one fails, or all
	// if sticky. Negative: no fault.
	left    int
	sticky  bool
	failed  string
	short   bool // a failing write writes half of it first
	ops     int
	synced  map[string][]byte // what is on the disk, by name
	moved   []move            // not forced to the disk yet
	renamed map[string]string
	boots   int // how often the power was cut
}

// quickFS forces nothing to the disk, for tests that open a log thousands of
// times.
type quickFS struct{ osFS }

type quickFile struct{ file }

func (quickFile) Sync() error { return nil }

func (x quickFS) Edit(name string) (file, error) {
	f, err := x.osFS.Edit(name)
	return quickFile{f}, err
}

func (x quickFS) Create(name string) (file, error) {
	f, err := x.osFS.Create(name)
	return quickFile{f}, err
}

func (quickFS) SyncDir(string) error { return nil }

func (x *faultFS) Boot() bootID { return bootID{1, byte(x.boots), byte(x.boots >> 8)} }

type move struct{ from, to string }

func newFaultFS() *faultFS {
	return &faultFS{left: -1, rnd: rand.New(rand.NewPCG(3, 4)), synced: map[string][]byte{}, renamed: map[string]string{}}
}

func (x *faultFS) fail(after int, sticky bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.left, x.sticky, x.failed, x.ops = after, sticky, "", 0
}

// op takes a turn.
func (x *faultFS) op(name string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ops++
	if x.left < 0 {
		return nil
	}
	if x.left > 0 {
		x.left--
		return nil
	}
	if !x.sticky {
		x.left = -1
	}
	if x.failed == "" {
		x.failed = name
	}
	return &os.PathError{Op: name, Path: "fault", Err: syscall.ENOSPC}
}

type faultFile struct {
	file
	name string
	x    *faultFS
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.x.op("write"); err != nil {
		n := 0
		if f.x.short {
			n, _ = f.file.WriteAt(b[:len(b)/2], off)
		}
		return n, err
	}
	return f.file.WriteAt(b, off)
}

func (f *faultFile) Truncate(n int64) error {
	if err := f.x.op("truncate"); err != nil {
		return err
	}
	return f.file.Truncate(n)
}

func (f *faultFile) Sync() error {
	if err := f.x.op("sync"); err != nil {
		return err
	}
	content, err := readAll(f.file)
	if err != nil {
		return err
	}
	f.x.mu.Lock()
	defer f.x.mu.Unlock()
	name := f.name
	if to, ok := f.x.renamed[name]; ok {
		name = to
	}
	f.x.synced[name] = content
	return nil
}

func readAll(f file) ([]byte, error) {
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, 0, n))
}

func (x *faultFS) wrap(f file, name string, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{f, name, x}, nil
}

func (x *faultFS) Edit(name string) (file, error) {
	f, err := x.osFS.Edit(name)
	return x.wrap(f, name, err)
}

func (x *faultFS) Create(name string) (file, error) {
	if err := x.op("create"); err != nil {
		return nil, err
	}
	x.mu.Lock()
	x.synced[name] = nil
	delete(x.renamed, name)
	x.mu.Unlock()
	f, err := x.osFS.Create(name)
	return x.wrap(f, name, err)
}

func (x *faultFS) Rename(from, to string) error {
	if err := x.op("rename"); err != nil {
		return err
	}
	x.mu.Lock()
	if b, ok := x.synced[from]; ok {
		x.synced[to] = b
		delete(x.synced, from)
		x.renamed[from] = to
		x.moved = append(x.moved, move{from, to})
	}
	x.mu.Unlock()
	return x.osFS.Rename(from, to)
}

func (x *faultFS) Symlink(target, name string) error {
	if err := x.op("symlink"); err != nil {
		return err
	}
	return x.osFS.Symlink(target, name)
}

func (x *faultFS) SyncDir(name string) error {
	if err := x.op("syncdir"); err != nil {
		return err
	}
	x.mu.Lock()
	x.moved = nil
	x.mu.Unlock()
	return nil
}

// cutPower leaves of each file what was synced, some of the pages that were
// written since, and a size between; names that were not forced to the disk may
// be lost. A page is small here, so that there are many.
func (x *faultFS) cutPower() error {
	const page = 64
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, synced := range x.synced {
		content, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		size := len(synced)
		if len(content) > size {
			size += x.rnd.IntN(len(content) - size + 1)
		}
		after := make([]byte, size)
		copy(after, synced)
		for at := 0; at < size; at += page {
			if end := min(at+page, size, len(content)); at < end && x.rnd.IntN(2) == 0 {
				copy(after[at:end], content[at:end])
			}
		}
		if err := os.WriteFile(name, after, 0o644); err != nil {
			return err
		}
		x.synced[name] = after
	}
	for i := len(x.moved) - 1; i >= 0; i-- {
		if m := x.moved[i]; x.rnd.IntN(2) == 0 {
			if err := os.Rename(m.to, m.from); err != nil {
				return err
			}
		}
	}
	x.moved = nil
	x.boots++
	return nil
}
