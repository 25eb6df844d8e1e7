package seglog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/private"
	"github.com/promgrpc/exporter/internal/segment"
)

// A writer marks in a file beside the segments how far its log has come. Segments show
// what of them is whole, and cannot show what is missing after their end: so an opening
// compares them with the mark to know whether everything that was visible is there.
//
// The mark is written before a block becomes visible. It is forced to the disk only when
// the writer is opened and closed: in between it is in the page cache, as the blocks
// are, and is lost with them or not at all.

const (
	endName    = "end"
	endMagic   = "PGRPCEND"
	endSize    = 64
	endSlots   = 2
	endVersion = 1

	endClosed = 1 << 0 // by Close, with everything on the disk
	endSynced = 1 << 1 // nothing is visible that is not on the disk
)

// bootID names the time since the machine booted: what was written since then is there,
// forced to the disk or not. Zero: the machine has no such id.
type bootID [16]byte

// end is how far a log has come.
type end struct {
	boot           bootID
	closed, synced bool
	sequence       uint64 // of the last block that was visible, 0: none
	checksum       uint32 // of it
}

func (e *end) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, endSize)...)
	b := dst[at:]
	le := binary.LittleEndian
	copy(b, endMagic)
	le.PutUint16(b[8:], endVersion)
	var flags uint16
	if e.closed {
		flags |= endClosed
	}
	if e.synced {
		flags |= endSynced
	}
	le.PutUint16(b[10:], flags)
	le.PutUint32(b[12:], e.checksum)
	le.PutUint64(b[16:], e.sequence)
	copy(b[24:], e.boot[:])
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return dst
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func parseEnd(b []byte) (e end, err error) {
	le := binary.LittleEndian
	switch {
	case len(b) != endSize || string(b[:8]) != endMagic || crc32.Checksum(b[:60], castagnoli) != le.Uint32(b[60:]):
		return e, fmt.Errorf("end mark: %w", segment.ErrCorrupt)
	case le.Uint16(b[8:]) != endVersion:
		return e, fmt.Errorf("end mark: %w: %d", segment.ErrVersion, le.Uint16(b[8:]))
	}
	flags := le.Uint16(b[10:])
	e.closed, e.synced = flags&endClosed != 0, flags&endSynced != 0
	e.checksum, e.sequence = le.Uint32(b[12:]), le.Uint64(b[16:])
	copy(e.boot[:], b[24:])
	return e, nil
}

// errIncomplete says that blocks that were visible may be missing at the end of a log.
var errIncomplete = errors.New("blocks may be missing at its end")

// checkEnd compares a log with its end mark, and returns an errIncomplete unless
// nothing can be missing.
func (s *Store) checkEnd(l *Log) error {
	e, err := s.readEnd(l.dir)
	if errors.Is(err, errNotMarked) && len(l.segs) == 0 {
		return nil // It is new.
	}
	if errors.Is(err, private.ErrPlanted) {
		return err // A new log would hide it.
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errIncomplete, err)
	}
	switch {
	case e.closed || e.synced:
	case e.boot == bootID{} || e.boot != s.fs.Boot():
		return fmt.Errorf("%w: the machine was restarted, and not all was on the disk", errIncomplete)
	}
	if e.sequence == 0 {
		return nil
	}
	sum, ok, err := l.Checksum(context.Background(), e.sequence)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errIncomplete, err)
	case !ok:
		return fmt.Errorf("%w: it had come to block %d, and ends at %d", errIncomplete, e.sequence, l.Last())
	case sum != e.checksum:
		return fmt.Errorf("%w: block %d has the checksum %08x, and had %08x", errIncomplete, e.sequence, sum, e.checksum)
	}
	return nil
}

func (s *Store) readEnd(dir string) (end, error) {
	f, err := s.fs.Open(filepath.Join(dir, endName))
	if errors.Is(err, os.ErrNotExist) {
		return end{}, errNotMarked
	}
	if err != nil {
		return end{}, err
	}
	defer f.Close()
	var b [endSlots * endSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return end{}, err
	}
	return latestEnd(b[:n])
}

var errNotMarked = errors.New("it is not marked how far it had come")

// latestEnd is the mark with the highest sequence of those that are whole.
func latestEnd(b []byte) (latest end, err error) {
	found := false
	for len(b) > 0 {
		n := min(len(b), endSize)
		e, bad := parseEnd(b[:n])
		switch {
		case bad != nil:
			err = bad
		case !found || e.sequence > latest.sequence:
			latest, found = e, true
		}
		b = b[n:]
	}
	switch {
	case found:
		return latest, nil
	case err != nil:
		return latest, err
	}
	return latest, errNotMarked
}

// endMark is the mark of an open writer. Its file has two slots, which are written in
// turn, so that one of them is whole at every instant.
type endMark struct {
	f    file
	end  end
	slot int
	buf  []byte
}

// openEnd opens the mark of a log, or creates it, and sets it to the log's last block.
func (s *Store) openEnd(l *Log) (*endMark, error) {
	path := filepath.Join(l.dir, endName)
	f, err := s.fs.Edit(path)
	made := errors.Is(err, os.ErrNotExist)
	if made {
		f, err = s.fs.Create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("end mark: %w", err)
	}
	m := &endMark{f: f, end: end{boot: s.fs.Boot(), synced: !s.o.showsUnforced(), sequence: l.last, checksum: l.sum}}
	if err = m.force(); err == nil && made {
		err = s.fs.SyncDir(l.dir)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("end mark: %w", err)
	}
	return m, nil
}

// set marks that the log has come to a block.
func (m *endMark) set(sequence uint64, checksum uint32) error {
	if invariant.On {
		invariant.Check(sequence >= m.end.sequence, "end mark: block %d after block %d", sequence, m.end.sequence)
	}
	if sequence == m.end.sequence {
		return nil
	}
	m.end.sequence, m.end.checksum = sequence, checksum
	return m.write()
}

func (m *endMark) write() error {
	m.buf = m.end.append(m.buf[:0])
	if _, err := m.f.WriteAt(m.buf, int64(m.slot)*endSize); err != nil {
		return fmt.Errorf("end mark: %w", err)
	}
	m.slot = (m.slot + 1) % endSlots
	return nil
}

// force writes all slots, and forces them to the disk.
func (m *endMark) force() error {
	for range endSlots {
		if err := m.write(); err != nil {
			return err
		}
	}
	if err := m.f.Sync(); err != nil {
		return fmt.Errorf("end mark: %w", err)
	}
	return nil
}

// close closes the mark's file, and marks the log as closed if all of it is on the disk.
func (m *endMark) close(complete bool) error {
	var err error
	if complete {
		m.end.closed = true
		err = m.force()
	}
	if e := m.f.Close(); err == nil {
		err = e
	}
	return err
}
