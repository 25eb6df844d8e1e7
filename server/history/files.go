package history

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/private"
	"github.com/promgrpc/exporter/internal/segment"
)

// stored is a part with where it is.
type stored struct {
	span
	sum  uint32
	size int64
	name string // of the file; "": it is in memory
	// In memory:
	content []byte
	hold    *limit.Hold
}

const (
	partExt = ".part"
	tempExt = ".tmp"
)

var partName = regexp.MustCompile(`^([0-9a-f]{32})-(\d{20})-(\d{20})-(\d{20})\.part$`)

// parseName returns which part has a file name.
func parseName(name string) (span, bool) {
	var s span
	m := partName.FindStringSubmatch(name)
	if m == nil {
		return s, false
	}
	var err error
	if s.log, err = segment.ParseLogID(m[1]); err != nil {
		return s, false
	}
	for i, v := range []*uint64{&s.segment, &s.from, &s.to} {
		if *v, err = strconv.ParseUint(m[2+i], 10, 64); err != nil {
			return s, false
		}
	}
	return s, s.segment > 0 && s.segment <= s.from && s.from <= s.to
}

// load finds the files that are there. What continues no other is removed.
func (s *Store) load() error {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return err
	}
	var found []*stored
	for _, e := range entries {
		name := e.Name()
		if base, ok := strings.CutSuffix(name, tempExt); ok {
			if _, ours := parseName(base); ours {
				s.removeFile(name)
			}
			continue
		}
		span, ok := parseName(name)
		info, err := e.Info()
		if !ok || err != nil || !info.Mode().IsRegular() {
			continue
		}
		found = append(found, &stored{span: span, size: info.Size(), name: name})
		en := s.entry(key{span.log, span.segment})
		if info.ModTime().After(en.used) {
			en.used = info.ModTime()
		}
	}
	slices.SortFunc(found, func(a, b *stored) int {
		return cmp.Or(bytes.Compare(a.log[:], b.log[:]), cmp.Compare(a.segment, b.segment), cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	for _, p := range found {
		s.bytes += p.size
		en := s.entry(key{p.log, p.segment})
		if p.from == en.written()+1 {
			en.parts = append(en.parts, p)
		} else {
			s.remove(p)
		}
	}
	_ = s.makeRoom(0) // There may be more than the limit allows by now.
	return nil
}

// makeRoom removes the parts of segments that were not used for longest, until so many
// bytes more may be written, which then count. The caller holds the lock.
func (s *Store) makeRoom(n int64) error {
	for s.bytes+n > int64(s.o.Bytes) {
		var oldest *entry
		for _, en := range s.entries {
			if en.users == 0 && en.building == nil && en.onDisk() > 0 && (oldest == nil || en.used.Before(oldest.used)) {
				oldest = en
			}
		}
		if oldest == nil {
			return errFull
		}
		s.drop(oldest)
		s.metrics.evicted.Inc()
	}
	s.bytes += n
	return nil
}

var errFull = errors.New("the limit of " + FlagBytes + " is reached")

// onDisk is how many parts have a file.
func (en *entry) onDisk() (n int) {
	for _, p := range en.parts {
		if p.name != "" {
			n++
		}
	}
	return n
}

// drop removes all that there is of a segment. Who reads it goes on. The caller holds the
// lock, and nobody builds.
func (s *Store) drop(en *entry) {
	en.stop()
	for _, p := range en.parts {
		s.remove(p)
	}
	en.parts = nil
	delete(s.entries, en.key)
}

// remove removes a part. The caller holds the lock.
func (s *Store) remove(p *stored) {
	if p.name == "" {
		p.hold.Release()
		return
	}
	s.bytes -= p.size
	s.removeFile(p.name)
}

func (s *Store) removeFile(name string) {
	if err := os.Remove(filepath.Join(s.path, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("remove part", "file", filepath.Join(s.path, name), "err", err)
	}
}

// opened is a part that a selection reads.
type opened struct {
	*stored
	r    io.ReaderAt
	file *os.File // nil: it is in memory
}

// open opens a part.
func (s *Store) open(p *stored) (opened, error) {
	if p.name == "" {
		return opened{p, bytes.NewReader(p.content), nil}, nil
	}
	f, err := private.Open(filepath.Join(s.path, p.name), os.O_RDONLY)
	if err != nil {
		return opened{}, err
	}
	return opened{p, f, f}, nil
}

func (o *opened) close() {
	if o.file != nil {
		_ = o.file.Close() // was only read
	}
}

// write makes a part by what write writes: a file or, if there is no room for that, a
// piece of memory.
func (s *Store) write(sp span, sum uint32, write func(io.Writer) error) (*stored, error) {
	p := &stored{span: sp, sum: sum}
	err := s.writeFile(p, write)
	if err == nil || s.ctx.Err() != nil || errors.Is(err, errGivenUp) {
		return p, err
	}
	s.told.Log(slog.LevelWarn, "part of the index is not written, and kept in memory while it is used", "part", sp.String(), "err", err)
	s.metrics.unwritten.Inc()
	p.hold = s.o.Memory.Hold(holder)
	m := memoryWriter{hold: p.hold}
	if err := write(&m); err != nil {
		p.hold.Release()
		return nil, err
	}
	p.content, p.size = m.b, int64(len(m.b))
	return p, nil
}

// writeFile writes a part under another name first. What a crash leaves is noticed by the
// checksums.
func (s *Store) writeFile(p *stored, write func(io.Writer) error) error {
	name := p.String() + partExt
	path := filepath.Join(s.path, name)
	f, err := private.Create(path + tempExt)
	if err != nil {
		return err
	}
	w := fileWriter{s: s, f: f}
	err = write(&w)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+tempExt, path)
	}
	if err != nil {
		s.mu.Lock()
		s.bytes -= w.written
		s.mu.Unlock()
		s.removeFile(name + tempExt)
		return err
	}
	p.name, p.size = name, w.written
	s.metrics.written.Inc()
	return nil
}

// fileWriter takes room for what it writes.
type fileWriter struct {
	s       *Store
	f       *os.File
	written int64
}

// Write implements [io.Writer].
func (w *fileWriter) Write(b []byte) (int, error) {
	w.s.mu.Lock()
	err := w.s.makeRoom(int64(len(b)))
	w.s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	w.written += int64(len(b))
	return w.f.Write(b)
}

// memoryWriter keeps what it is given.
type memoryWriter struct {
	b    []byte
	hold *limit.Hold
}

// Write implements [io.Writer].
func (w *memoryWriter) Write(b []byte) (int, error) {
	if need := len(w.b) + len(b); need > cap(w.b) {
		size := max(need, 2*cap(w.b))
		if err := w.hold.Resize(int64(size + cap(w.b))); err != nil {
			return 0, err
		}
		w.b = append(make([]byte, 0, size), w.b...)
		_ = w.hold.Resize(int64(size)) // less
	}
	w.b = append(w.b, b...)
	return len(b), nil
}
