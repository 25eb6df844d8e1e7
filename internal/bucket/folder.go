package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// folder is a bucket on a file system, which may be shared. An object is written under
// another name, synced, and linked to its own: link(2) fails if that exists, on a file
// system of the network too. So it needs hard links.
type folder struct{ path string }

const (
	// creating is where objects are written, which begins as no object's name does.
	creating = ".creating"
	// abandoned is after what time somebody has given up what is there.
	abandoned = 24 * time.Hour
	// lostFound is the file system's own, where the folder is all of one. Nobody else may
	// read it.
	lostFound = "lost+found"
)

func openFolder(path string, options Options) (Bucket, error) {
	f := &folder{path: path}
	if options.ReadOnly {
		return f, nil
	}
	// Its parent has to be there: a disk that is not mounted is no empty bucket.
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the folder of a bucket: %w", err)
	}
	f.clean(time.Now())
	return f, nil
}

// clean removes what was abandoned. It is only rubbish: an error leaves it there.
func (f *folder) clean(now time.Time) {
	entries, err := os.ReadDir(filepath.Join(f.path, creating))
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > abandoned {
			_ = os.Remove(filepath.Join(f.path, creating, entry.Name())) // see above
		}
	}
}

func (f *folder) String() string { return Location{Scheme: "file", Bucket: f.path}.String() }

func (f *folder) Close() error { return nil }

func (f *folder) file(name string) string { return filepath.Join(f.path, filepath.FromSlash(name)) }

// there says that the bucket itself is there, before anything is said of its objects.
func (f *folder) there() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("the folder of the bucket: %w", notFound(err))
	}
	if !info.IsDir() {
		return fmt.Errorf("the bucket %s is no folder", f.path)
	}
	return nil
}

// notFound keeps an error of a path from being taken for ErrNotFound's.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New(err.Error())
	}
	return err
}

func (f *folder) Create(ctx context.Context, name string, content io.ReaderAt, size int64) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if _, err := os.Lstat(f.file(name)); err == nil {
		return fmt.Errorf("create %s in %s: %w", name, f, ErrExists)
	}
	if err := f.create(ctx, name, content, size); err != nil {
		return fmt.Errorf("create %s in %s: %w", name, f, err)
	}
	return nil
}

func (f *folder) create(ctx context.Context, name string, content io.ReaderAt, size int64) error {
	if err := f.there(); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(f.path, creating), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	temporary, err := write(ctx, filepath.Join(f.path, creating), content, size)
	if err != nil {
		return err
	}
	err = f.link(temporary, name)
	return errors.Join(err, os.Remove(temporary))
}

// write writes and syncs a file of a name that nobody else has.
func write(ctx context.Context, folder string, content io.ReaderAt, size int64) (string, error) {
	file, err := os.CreateTemp(folder, "object-")
	if err != nil {
		return "", err
	}
	n, err := io.Copy(file, &canceled{ctx, io.NewSectionReader(content, 0, size)})
	if err == nil && n != size {
		err = fmt.Errorf("%d of its %d bytes could be read: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// canceled is a reader that ends with a context.
type canceled struct {
	ctx    context.Context
	reader io.Reader
}

func (c *canceled) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.reader.Read(p)
}

// link gives a file its name, which is on the disk afterwards.
func (f *folder) link(temporary, name string) error {
	path := f.file(name)
	for tries := 0; ; tries++ {
		if err := f.makeFolders(filepath.Dir(path)); err != nil {
			return err
		}
		err := os.Link(temporary, path)
		switch {
		case errors.Is(err, fs.ErrExist):
			return ErrExists
		case errors.Is(err, fs.ErrNotExist) && tries < 3:
			continue // somebody has deleted the last object that was in the folder
		case err != nil:
			return notFound(err)
		}
		return syncFolder(filepath.Dir(path))
	}
}

// makeFolders makes a folder with those that it is in, below the bucket's own, and
// syncs where it has made any.
func (f *folder) makeFolders(path string) error {
	if path == f.path {
		return nil
	}
	switch err := os.Mkdir(path, 0o755); {
	case err == nil:
		return syncFolder(filepath.Dir(path))
	case errors.Is(err, fs.ErrExist):
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := f.makeFolders(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return notFound(err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return notFound(err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (f *folder) Open(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := checkRange(name, offset); err != nil {
		return nil, err
	}
	file, err := os.Open(f.file(name))
	if err != nil {
		return nil, f.failed("read", name, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(f.failed("read", name, err), file.Close())
	}
	if length < 0 {
		length = max(info.Size()-offset, 0)
	}
	return &section{io.NewSectionReader(file, offset, length), file}, nil
}

// section is a part of a file.
type section struct {
	io.Reader
	io.Closer
}

// failed says what could not be done. An object is not found only if its bucket is there.
func (f *folder) failed(what, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		err = ErrNotFound
		if there := f.there(); there != nil {
			err = there
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		err = &refusal{err}
	}
	return fmt.Errorf("%s %s in %s: %w", what, name, f, err)
}

func (f *folder) Stat(_ context.Context, name string) (Object, error) {
	if err := CheckName(name); err != nil {
		return Object{}, err
	}
	info, err := os.Stat(f.file(name))
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Object{}, f.failed("stat", name, err)
	}
	return Object{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

func (f *folder) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		err := f.there()
		if err == nil {
			err = f.walk(ctx, "", prefix, yield)
		}
		if err != nil && !errors.Is(err, fs.SkipAll) {
			yield(Object{}, fmt.Errorf("list %s* in %s: %w", prefix, f, err))
		}
	}
}

// walk yields the objects of a folder, by its name with a slash at its end. It returns
// [fs.SkipAll] if no more are wanted.
func (f *folder) walk(ctx context.Context, name, prefix string, yield func(Object, error) bool) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(f.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted since
	}
	if err != nil {
		return err
	}
	var names []string
	for _, entry := range entries {
		full := name + entry.Name()
		if full == lostFound {
			continue
		}
		if entry.IsDir() {
			full += "/"
		}
		if CheckName(strings.TrimSuffix(full, "/")) == nil && (strings.HasPrefix(full, prefix) || strings.HasPrefix(prefix, full)) {
			names = append(names, full)
		}
	}
	// A folder's objects are where its name with the slash is: a-b is before a/b.
	slices.Sort(names)
	for _, full := range names {
		if err := f.visit(ctx, full, prefix, yield); err != nil {
			return err
		}
	}
	return nil
}

// visit is walk for one entry.
func (f *folder) visit(ctx context.Context, name, prefix string, yield func(Object, error) bool) error {
	if strings.HasSuffix(name, "/") {
		return f.walk(ctx, name, prefix, yield)
	}
	info, err := os.Stat(f.file(name))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP): // deleted since, or a link to nothing
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular() || !strings.HasPrefix(name, prefix):
		return nil
	case !yield(Object{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil):
		return fs.SkipAll
	}
	return nil
}

func (f *folder) Delete(_ context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err := os.Remove(f.file(name))
	if err != nil {
		if err = f.failed("delete", name, err); errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	}
	// Folders exist only for what is in them. One that is not empty stays.
	for path := filepath.Dir(f.file(name)); path != f.path && os.Remove(path) == nil; path = filepath.Dir(path) {
	}
	return nil
}
