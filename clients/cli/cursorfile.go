package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/promgrpc/exporter/internal/private"
)

// cursorInterval is the least time between two writes of a cursor, but for the
// last.
const cursorInterval = time.Second

var (
	errCursorInUse  = errors.New("another run has it: two would print the same samples")
	errCursorOutput = errors.New("it is what the output goes to")
	errCursorMoved  = errors.New("it was removed or replaced by another program during the run")
)

// cursorFile keeps the cursor of what was printed. It is never ahead of the
// output, which is made durable first if it is a file: after a crash it lags by at
// most cursorInterval, and what was printed since is printed again.
//
// It is replaced as a whole, keeping mode and owner, and a link stays one. Where it
// cannot be replaced, since it is mounted, the folder is read-only, or it has other
// names, it is written in place: a crash of the machine may tear it then, which its
// checksum reveals.
//
// It is locked from open to close, by a lock that ends with the process.
type cursorFile struct {
	path    string // "" keeps nothing
	file    *os.File
	target  string // the path, links resolved
	created bool
	inPlace bool
	output  *os.File // if it is a regular file

	cursor  string // covers what was printed
	written string
	last    time.Time
}

// openCursorFile locks the file, reads its cursor, and checks that the next one can
// be written. If there is no file it makes an empty one. The output must not be the
// same file.
func openCursorFile(path string, output *os.File) (*cursorFile, error) {
	c := &cursorFile{path: path, last: time.Now()}
	if path == "" {
		return c, nil
	}
	if err := c.open(output); err != nil {
		c.close()
		return nil, fmt.Errorf("--cursor-file %s: %w", path, err)
	}
	return c, nil
}

func (c *cursorFile) open(output *os.File) error {
	if err := c.lock(); err != nil {
		return err
	}
	if c.is(output) {
		return errCursorOutput
	}
	if info, err := output.Stat(); err == nil && info.Mode().IsRegular() {
		c.output = output
	}
	b, err := io.ReadAll(io.LimitReader(c.file, 2*int64(maxCursorRecord)))
	if err != nil {
		return err
	}
	if c.cursor, err = parseCursorRecord(b); err != nil {
		return err
	}
	c.written = c.cursor
	return c.put(c.cursor)
}

// lock opens the file and locks it. Another run may replace the file before the lock
// is taken; then it starts over with the new one.
func (c *cursorFile) lock() error {
	for {
		c.target = ""
		if err := c.openRegular(); err != nil {
			if errors.Is(err, fs.ErrExist) {
				continue // Another run was first.
			}
			return err
		}
		if err := flock(c.file); err != nil {
			return err
		}
		target, err := filepath.EvalSymlinks(c.path)
		if err == nil {
			c.target = target
			err = c.ours()
		}
		if err == nil || !errors.Is(err, errCursorMoved) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = c.file.Close()
	}
}

func flock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errCursorInUse
	}
	return os.NewSyscallError("flock", err)
}

// openRegular opens the file, or makes it if there is none. It does not open what is
// not a regular file, since opening alone may block or have an effect, nor what another
// user may have planted. A link to what is not there yet is its user's own.
func (c *cursorFile) openRegular() error {
	if err := private.Check(c.path); err != nil {
		return err
	}
	info, err := os.Stat(c.path)
	flags := os.O_RDWR | unix.O_NONBLOCK
	c.created = errors.Is(err, fs.ErrNotExist)
	switch {
	case c.created:
		flags |= os.O_CREATE
		if _, err := os.Lstat(c.path); errors.Is(err, fs.ErrNotExist) {
			flags |= os.O_EXCL
		}
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("it is no regular file, but %s", kindOf(info.Mode()))
	}
	if c.file, err = os.OpenFile(c.path, flags, 0o600); err != nil {
		c.file = nil
		if c.created && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("its folder does not exist: %w", err)
		}
		return err
	}
	if info, err = c.file.Stat(); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("it is no regular file, but %s", kindOf(info.Mode()))
	}
	return nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return mode.String()
}

// is reports whether the file is f, which may be nil.
func (c *cursorFile) is(f *os.File) bool {
	a, errA := c.file.Stat()
	b, errB := f.Stat()
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// ours returns an error unless the file that is open and locked is the one at the
// path.
func (c *cursorFile) ours() error {
	open, err := c.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(c.target)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(open, there) {
		return errCursorMoved
	}
	return err
}

// due reports whether it is time to flush and save.
func (c *cursorFile) due() bool {
	return c.path != "" && c.cursor != c.written && time.Since(c.last) >= cursorInterval
}

// save writes the cursor. What it covers must have been flushed.
func (c *cursorFile) save() error {
	if c.path == "" || c.cursor == c.written {
		return nil
	}
	if c.output != nil {
		if err := c.output.Sync(); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
	}
	if err := c.put(c.cursor); err != nil {
		return fmt.Errorf("save the cursor in %s: %w", c.path, err)
	}
	c.written, c.last = c.cursor, time.Now()
	return nil
}

// close unlocks the file, and removes it if it was made and got no cursor.
func (c *cursorFile) close() {
	if c.file == nil {
		return
	}
	if c.created && c.written == "" && c.ours() == nil {
		_ = os.Remove(c.target)
	}
	_ = c.file.Close()
}

// put writes a cursor, durably.
func (c *cursorFile) put(cursor string) error {
	if err := c.ours(); err != nil {
		return err
	}
	if !c.inPlace && c.replace(cursorRecord(cursor)) == nil {
		return nil
	}
	c.inPlace = true
	return c.overwrite(cursorRecord(cursor))
}

func (c *cursorFile) overwrite(record string) error {
	if _, err := c.file.WriteAt([]byte(record), 0); err != nil {
		return err
	}
	if err := c.file.Truncate(int64(len(record))); err != nil {
		return err
	}
	return c.file.Sync()
}

// replace renames a new file, already locked, over the old one.
func (c *cursorFile) replace(record string) error {
	folder, name := filepath.Split(c.target)
	d, err := os.Open(filepath.Clean(folder))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	old, err := c.file.Stat()
	if err != nil {
		return err
	}
	next := filepath.Join(folder, "."+name+".next")
	_ = os.Remove(next) // left by a run that was killed: the lock is ours
	f, err := os.OpenFile(next, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = fill(f, old, record); err == nil {
		err = os.Rename(next, c.target)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(next)
		return err
	}
	_ = c.file.Close()
	c.file = f
	return d.Sync()
}

// fill locks f and gives it the record, and owner and mode of the old file.
func fill(f *os.File, old fs.FileInfo, record string) error {
	if err := flock(f); err != nil {
		return err
	}
	was, _ := old.Sys().(*syscall.Stat_t)
	if was == nil || was.Nlink > 1 {
		return errors.New("it has other names, too")
	}
	if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
		return err
	}
	if err := f.Chmod(old.Mode()); err != nil {
		return err
	}
	if _, err := f.WriteString(record); err != nil {
		return err
	}
	return f.Sync()
}
