package seglog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// A log that is removed for good leaves a line in a file of the store, by which cursors
// into it are understood: how far it had come, and when it was removed.

const (
	retiredName = "retired"
	// mostRetired is of how many logs that is known, the newest.
	mostRetired = 1024
)

// Retired is what is left of a log.
type Retired struct {
	// Last block that the store had of it.
	Last uint64
	// At is when it was removed, in whole milliseconds.
	At time.Time
}

// Retired returns what is left of the logs that were removed for good.
func (s *Store) Retired() (map[segment.LogID]Retired, error) {
	f, err := s.fs.Open(filepath.Join(s.path, retiredName))
	if errors.Is(err, os.ErrNotExist) {
		return map[segment.LogID]Retired{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("retired logs: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 100*mostRetired))
	if err != nil {
		return nil, fmt.Errorf("retired logs: %w", err)
	}
	retired, err := parseRetired(string(b))
	if err != nil {
		return nil, fmt.Errorf("retired logs: %s: %w", filepath.Join(s.path, retiredName), err)
	}
	return retired, nil
}

// WithRetired returns what is left of all logs, with one more, and without the oldest
// where there are too many. It leaves before as it was: others may be reading that.
func WithRetired(before map[segment.LogID]Retired, id segment.LogID, one Retired) map[segment.LogID]Retired {
	all := maps.Clone(before)
	all[id] = one
	for len(all) > mostRetired {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(all)), func(a, b segment.LogID) int {
			return cmp.Or(all[a].At.Compare(all[b].At), bytes.Compare(a[:], b[:]))
		})
		delete(all, oldest)
	}
	return all
}

// Retire removes a log that is not open for good, also if what is left of it, which is
// among all, cannot be written: then the disk may be full, and all is written the next
// time.
func (s *Store) Retire(id segment.LogID, all map[segment.LogID]Retired) error {
	err := s.replaceFile(filepath.Join(s.path, retiredName), formatRetired(all))
	if err == nil {
		err = s.fs.SyncDir(s.path)
	}
	s.Remove(id)
	if err != nil {
		return fmt.Errorf("retired logs: %w", err)
	}
	return nil
}

func formatRetired(all map[segment.LogID]Retired) []byte {
	var b []byte
	for _, id := range slices.SortedFunc(maps.Keys(all), func(a, b segment.LogID) int { return bytes.Compare(a[:], b[:]) }) {
		b = fmt.Appendf(b, "%s %d %d\n", id, all[id].Last, all[id].At.UnixMilli())
	}
	return b
}

func parseRetired(text string) (map[segment.LogID]Retired, error) {
	all := map[segment.LogID]Retired{}
	for line := range strings.Lines(text) {
		var id string
		var last uint64
		var at int64
		if _, err := fmt.Sscanf(line, "%s %d %d\n", &id, &last, &at); err != nil {
			return nil, fmt.Errorf("line %.100q: %w", line, err)
		}
		log, err := segment.ParseLogID(id)
		if err != nil {
			return nil, fmt.Errorf("line %.100q: %w", line, err)
		}
		all[log] = Retired{last, time.UnixMilli(at)}
	}
	return all, nil
}

// RetentionTime is for how long segments are kept, 0 for good.
func (s *Store) RetentionTime() time.Duration { return s.o.RetentionTime }

// Over says whether the logs that are open take more than their size may be, and overfull
// whether that is so much that what the Remote does not have goes, too.
func (s *Store) Over() (over, overfull bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := s.countLocked()
	return s.o.RetentionSize > 0 && size > s.o.RetentionSize, s.o.RetentionSize > 0 && size > unarchivedFactor*s.o.RetentionSize
}

// HasRemote says whether there is a Remote, which has what is not here.
func (s *Store) HasRemote() bool { return s.o.Remote != nil }

// Now is the time by which retention goes.
func (s *Store) Now() time.Time { return s.o.Now() }
