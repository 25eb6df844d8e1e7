// Package groupsfile is the groups file in use: read at the start, and again whenever it
// has changed.
//
// Guaranteed: what is in use was right as a whole, and follows what was in use before, unless
// others refused that: nothing that counts already is changed. A file that is wrong, or does not follow, changes
// nothing, and is told of until it is right. Not guaranteed: that a file which is written
// in several pieces, with pauses between them, is not taken halfway. Rename a complete one
// into its place.
package groupsfile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/renew"
)

// every is how often the file is looked at.
const every = time.Second

// mostBytes is the most that a groups file may have.
const mostBytes = 1 << 20

// Options of a file.
type Options struct {
	// Check says what else is wrong with a file. It may be called at any time.
	Check func(*placement.File) error
	// Ahead is how far ahead an instant has to be at which series move, when it is added,
	// moved or left out while the program runs.
	Ahead time.Duration
	// Logger of changes and errors. Nil: none.
	Logger *slog.Logger
}

// File is a groups file in use.
type File struct {
	path    string
	options Options
	value   *renew.Value[*placement.File]
	// last is what is in use, and what failed is why the file is not.
	last    atomic.Pointer[placement.File]
	failed  atomic.Pointer[error]
	text    []byte // of what is in use
	changed broadcast.Signal
	// others have a version already, and what they refused instead: see Known.
	others  atomic.Uint64
	refused atomic.Pointer[[]byte]
}

// Open reads the file for the first time, which has to succeed.
func Open(path string, o Options) (*File, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := &File{path: path, options: o}
	var err error
	f.value, err = renew.NewParsed(placement.Flag, f.read, o.Logger)
	return f, err
}

// Now returns what is in use.
func (f *File) Now() *placement.File { return f.last.Load() }

// Err is why what the file says now is not in use, nil if it is.
func (f *File) Err() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Again reads the file again, if it has changed, and says if it cannot be used.
func (f *File) Again() error { return f.value.Reload() }

// Changed is closed when another file is in use. Who gets it before Now misses nothing.
func (f *File) Changed() <-chan struct{} { return f.changed.Next() }

// Known says that others refused a placement, as it is encoded, for that of a version. If it
// is of a newer one, it is too late to refuse that here. If not, what is in use is wrong: what
// is right need not follow it.
func (f *File) Known(said []byte, version uint64) {
	for was := f.others.Load(); version > was && !f.others.CompareAndSwap(was, version); was = f.others.Load() {
	}
	if in := f.last.Load().Placement; version > 0 && version <= in.Version() && bytes.Equal(said, in.Bytes()) {
		f.refused.Store(&said)
	}
}

// isRefused says whether others refused a placement.
func (f *File) isRefused(p *placement.Placement) bool {
	said := f.refused.Load()
	return said != nil && bytes.Equal(*said, p.Bytes())
}

// Behind is why a placement is not to be used any more, nil if nobody is known to have a
// newer one.
func (f *File) Behind(p *placement.Placement) error {
	if newer := f.others.Load(); newer > p.Version() {
		return fmt.Errorf("version %d of %s is in use, and others have %d", p.Version(), placement.Flag, newer)
	}
	return nil
}

// Run looks at the file again and again until ctx ends.
func (f *File) Run(ctx context.Context) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			f.value.Get()
		}
	}
}

// read is called by one goroutine at a time.
func (f *File) read(uses func(string)) (*placement.File, error) {
	uses(f.path)
	next, text, err := f.parse()
	if err != nil {
		err = fmt.Errorf("%s %s: %w", placement.Flag, f.path, err)
		f.failed.Store(&err)
		return nil, err
	}
	f.failed.Store(nil)
	before := f.last.Load()
	if before != nil && bytes.Equal(text, f.text) {
		return before, nil
	}
	f.text = text
	f.last.Store(next)
	if before != nil && next.Placement != nil {
		f.options.Logger.Info("the groups file has changed", "version", next.Placement.Version())
	}
	f.changed.Wake()
	return next, nil
}

// parse returns what the file says, and its text.
func (f *File) parse() (*placement.File, []byte, error) {
	in, err := os.Open(f.path)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, mostBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > mostBytes {
		return nil, nil, fmt.Errorf("it has more than %d bytes", mostBytes)
	}
	next, err := placement.ParseFile(text)
	if err != nil {
		return nil, nil, err
	}
	if f.options.Check != nil {
		if err := f.options.Check(next); err != nil {
			return nil, nil, err
		}
	}
	return next, text, f.follow(next)
}

// follow returns an error if what is in use may not be followed by next.
func (f *File) follow(next *placement.File) error {
	before := f.last.Load()
	switch {
	case before == nil || before.Placement == nil:
		return nil
	case next.Placement == nil:
		return fmt.Errorf("%w: it has no spread any more", placement.ErrPast)
	case next.Placement.Version() > before.Placement.Version() && next.Placement.Version() <= f.others.Load(),
		f.isRefused(before.Placement):
		return nil
	}
	err := before.Placement.Follow(next.Placement, time.Now().Add(f.options.Ahead).UnixMilli())
	if err != nil && f.options.Ahead > 0 {
		return fmt.Errorf("%w (an instant has to be %s ahead)", err, f.options.Ahead)
	}
	return err
}
