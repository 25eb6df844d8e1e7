package seglog

import (
	"io"
	"os"

	"github.com/promgrpc/exporter/internal/private"
)

// file is what the log needs of a file. Tests make one with faults.
type file interface {
	io.ReaderAt
	io.WriterAt
	// Sync forces the data, and what is needed to read it, to the disk.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// filesystem is what the log needs of a filesystem.
type filesystem interface {
	// Open opens for reading, Edit for reading and writing; Create makes an
	// empty file, in place of one that is there.
	Open(name string) (file, error)
	Edit(name string) (file, error)
	Create(name string) (file, error)
	Mkdir(name string) error
	Rename(from, to string) error
	Remove(name string) error
	Symlink(target, name string) error
	Readlink(name string) (string, error)
	ReadDir(name string) ([]os.DirEntry, error)
	// SyncDir forces the entries of a folder to the disk.
	SyncDir(name string) error
	// Boot names the time since the machine booted, in which no written byte is lost
	// however processes end.
	Boot() bootID
}

type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return datasync(f.File) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func opened(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Open(name string) (file, error)             { return opened(private.Open(name, os.O_RDONLY)) }
func (osFS) Edit(name string) (file, error)             { return opened(private.Open(name, os.O_RDWR)) }
func (osFS) Create(name string) (file, error)           { return opened(private.Create(name)) }
func (osFS) Mkdir(name string) error                    { return private.MkdirAll(name) }
func (osFS) Rename(from, to string) error               { return os.Rename(from, to) }
func (osFS) Remove(name string) error                   { return os.Remove(name) }
func (osFS) Symlink(target, name string) error          { return os.Symlink(target, name) }
func (osFS) Readlink(name string) (string, error)       { return private.Readlink(name) }
func (osFS) ReadDir(name string) ([]os.DirEntry, error) { return os.ReadDir(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
