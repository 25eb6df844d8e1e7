// Package private creates files and folders that nobody but their owner may read, and
// opens none that another user may have planted.
//
// Guaranteed: what is created is new, a file that nobody has open and no link to another
// one. Where anybody may write into a folder, as into /tmp, what is in it is taken only
// if it belongs to this user, to root or to the folder's owner, and written only if it
// has no other name: neither a file, a folder or a link to either, at any place of a path.
//
// Not guaranteed: anything against those who may write into a folder because its owner
// or its group says so, or against root. A folder that was there keeps its mode. Where
// anybody may also rename what others have, as the sticky bit of /tmp forbids, what was
// checked may be another a moment later.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrPlanted says that another user may have put something where it was found.
var ErrPlanted = errors.New("another user may have planted it")

// ownerOf is the user that something belongs to. Tests have strangers.
var ownerOf = func(info fs.FileInfo) int { return int(statOf(info).Uid) }

const (
	fileMode   = 0o600
	folderMode = 0o700
	// most links in one path, as in Linux.
	links = 40
)

// MkdirAll creates a folder, and those above it, unless they are there.
func MkdirAll(path string) error {
	if err := Check(path); err != nil {
		return err
	}
	return os.MkdirAll(path, folderMode)
}

// Lock waits until no other process has locked a folder, and locks it until unlock is
// called or the process ends. It keeps out only those who lock it, too.
func Lock(folder string) (unlock func(), err error) {
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	for {
		switch err = unix.Flock(int(f.Fd()), unix.LOCK_EX); {
		case err == nil:
			return func() { _ = f.Close() }, nil
		case !errors.Is(err, unix.EINTR):
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", folder, err)
		}
	}
}

// Check follows a path as far as there is something, and returns ErrPlanted for what a
// stranger may have planted on it.
func Check(path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	at, rest, followed := "/", split(absolute), 0
	for len(rest) > 0 {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := checkOwner(next, info); err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if followed++; followed > links {
			return &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(split(target), rest...)
	}
	return nil
}

// split returns the parts of a path. It keeps "..", which leads out of what a link
// before it leads to.
func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(part string) bool { return part == "" || part == "." })
}

// Open opens a file that is there, by flags such as [os.O_RDWR]. It follows no link.
func Open(name string, flag int) (*os.File, error) {
	// Opening alone has an effect on what is no file.
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: it is no file, but %s: %w", name, kind(info.Mode()), ErrPlanted)
	}
	f, err := os.OpenFile(name, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		if err = checkOwner(name, info); err == nil && flag&(os.O_WRONLY|os.O_RDWR) != 0 {
			err = checkNames(name, info)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Create creates a file for reading and writing, in place of one that has the name.
func Create(name string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(name, flags, fileMode)
	if errors.Is(err, fs.ErrExist) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		f, err = os.OpenFile(name, flags, fileMode)
	}
	return f, err
}

// OpenOrCreate opens a file for reading and writing, and creates it if there is none.
func OpenOrCreate(name string) (*os.File, error) {
	for {
		f, err := Open(name, os.O_RDWR)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// Readlink returns what a link points at.
func Readlink(name string) (string, error) {
	info, err := os.Lstat(name)
	if err == nil {
		err = checkOwner(name, info)
	}
	if err != nil {
		return "", err
	}
	return os.Readlink(name)
}

// checkOwner returns ErrPlanted for what a stranger may have put where it is.
func checkOwner(name string, info fs.FileInfo) error {
	owner := ownerOf(info)
	if owner == 0 || owner == os.Geteuid() {
		return nil
	}
	folder, open, err := folderOf(name)
	if err != nil || !open || owner == ownerOf(folder) {
		return err
	}
	return fmt.Errorf("%s belongs to user %d, and anybody may write into its folder: %w", name, owner, ErrPlanted)
}

// checkNames returns ErrPlanted for a file that may be another one of this user, to
// which a stranger made a hard link.
func checkNames(name string, info fs.FileInfo) error {
	if statOf(info).Nlink < 2 {
		return nil
	}
	if _, open, err := folderOf(name); err != nil || !open {
		return err
	}
	return fmt.Errorf("%s has another name, too, and anybody may write into its folder: %w", name, ErrPlanted)
}

// folderOf returns the folder of a file, and whether anybody may write into it.
func folderOf(name string) (info fs.FileInfo, open bool, err error) {
	info, err = os.Stat(filepath.Dir(name))
	return info, err == nil && info.Mode().Perm()&0o002 != 0, err
}

func statOf(info fs.FileInfo) *syscall.Stat_t {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat
	}
	return &syscall.Stat_t{}
}

func kind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "a link"
	case mode.IsDir():
		return "a folder"
	}
	return "a " + mode.Type().String()
}

// Exposed says who but this user may write into a folder: "" for nobody, others that are
// in its group only if that is not the process' own.
func Exposed(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	mode := info.Mode().Perm()
	switch {
	case mode&0o002 != 0:
		return "anybody", nil
	case mode&0o020 != 0 && int(statOf(info).Gid) != os.Getegid():
		return "its group", nil
	}
	return "", nil
}
