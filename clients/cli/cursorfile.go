package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cursorInterval is how often a cursor is written at most, but for the last.
const cursorInterval = time.Second

// cursorFile keeps the cursor of what was printed. It is replaced as a whole,
// and never ahead of the output: after a crash it is behind by at most
// cursorInterval, and what was printed since then is printed again.
type cursorFile struct {
	path    string
	cursor  string // of what was printed last
	written string
	last    time.Time
}

// openCursorFile reads the cursor, if there is one. A path of "" keeps nothing.
func openCursorFile(path string) (*cursorFile, error) {
	c := &cursorFile{path: path, last: time.Now()}
	if path == "" {
		return c, nil
	}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the cursor: %w", err)
	}
	c.cursor = strings.TrimSpace(string(b))
	c.written = c.cursor
	return c, nil
}

// due tells whether it is time to flush and save.
func (c *cursorFile) due() bool {
	return c.path != "" && c.cursor != c.written && time.Since(c.last) >= cursorInterval
}

// save writes the cursor. What it covers must have been flushed.
func (c *cursorFile) save() error {
	if c.path == "" || c.cursor == c.written {
		return nil
	}
	if err := replaceFile(c.path, c.cursor+"\n"); err != nil {
		return fmt.Errorf("save the cursor: %w", err)
	}
	c.written, c.last = c.cursor, time.Now()
	return nil
}

// replaceFile puts a new file in the place of the old one, durably.
func replaceFile(path, content string) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.WriteString(content); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
