package seglog

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/private"
	"github.com/promgrpc/exporter/internal/segment"
)

const (
	latestName = "latest"
	lockName   = "lock"
	// retainEvery is how often retention looks at logs that do not rotate.
	retainEvery = 30 * time.Second
)

// State is written to the log as a keyframe.
type State interface {
	// Keyframe calls yield with the state as of the last appended block, in chunks, refs
	// ascending, the last one marked. Writing and reading take memory for a chunk at a
	// time; one that is over the limits of a frame is halved.
	Keyframe(yield func(*segment.Keyframe) error) error
}

// Applier applies the content of a log to a state. Its arguments are read-only. Structs
// and columns are valid until it returns; label strings, the values of a block's samples and
// the bytes of histograms and exemplars may be kept.
type Applier interface {
	ApplyKeyframe(*segment.Keyframe) error
	ApplyBlock(*segment.Block) error
}

// Restorer is a state that is written to a log and rebuilt from it.
type Restorer interface {
	State
	Applier
}

// Store is a storage folder, with a folder in it for each log. It holds an
// exclusive lock on the folder until it is closed.
type Store struct {
	path    string
	o       Options
	fs      filesystem
	log     *slog.Logger
	metrics *metrics
	lock    *os.File
	stop    chan struct{}
	stopped sync.WaitGroup
	// linking is held by who changes the store's link: logs of several forwarders begin at
	// a time.
	linking sync.Mutex
	// large admits as many large Appends of mirrors at a time as there are processors.
	large chan struct{}

	mu     sync.Mutex
	closed bool
	open   map[segment.LogID]*Log
	grown  int64 // bytes written since retention was checked
	over   bool  // warnOver has warned
	// cut has the sizes to which files of broken writers are cut before they are read
	// again, by their paths: the writers may have failed to.
	cut map[string]int64
}

// OpenStore creates the folder if it is not there, and locks it: ErrLocked if another
// process has it.
func OpenStore(path string, o Options) (*Store, error) { return openStore(path, o, osFS{}) }

func openStore(path string, o Options, fs filesystem) (*Store, error) {
	def := DefaultOptions()
	if o.SyncInterval <= 0 {
		o.SyncInterval = def.SyncInterval
	}
	if o.SegmentDuration <= 0 {
		o.SegmentDuration = def.SegmentDuration
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = def.SegmentSize
	}
	if o.RingBytes <= 0 {
		o.RingBytes = def.RingBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := fs.Mkdir(path); err != nil {
		return nil, fmt.Errorf("open storage %s: %w", path, err)
	}
	lock, err := lockFile(filepath.Join(path, lockName))
	if err != nil {
		return nil, fmt.Errorf("open storage %s: %w", path, err)
	}
	s := &Store{
		path: path, o: o, fs: fs, log: o.Logger, metrics: newMetrics(o.Registerer), lock: lock,
		stop: make(chan struct{}), large: make(chan struct{}, runtime.GOMAXPROCS(0)), open: map[segment.LogID]*Log{}, cut: map[string]int64{},
	}
	if _, err := s.logs(); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open storage %s: %w", path, err)
	}
	s.warnExposed()
	s.stopped.Go(s.retainLoop)
	return s, nil
}

// warnExposed tells of a folder into which others may write: what they put there may
// look like a log.
func (s *Store) warnExposed() {
	if who, err := private.Exposed(s.path); err == nil && who != "" {
		s.log.Warn("storage folder is not for this program alone", "path", s.path, "writable_by", who)
	}
}

// Path of the folder.
func (s *Store) Path() string { return s.path }

// Opened returns the logs that are open, in no particular order.
func (s *Store) Opened() []*Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.open))
}

// Logs returns the logs that have a folder, in no particular order.
func (s *Store) Logs() []segment.LogID {
	ids, err := s.logs()
	if err != nil {
		s.log.Warn("list logs", "path", s.path, "err", err)
	}
	return ids
}

func (s *Store) logs() ([]segment.LogID, error) {
	entries, err := s.fs.ReadDir(s.path)
	if err != nil {
		return nil, err
	}
	var ids []segment.LogID
	for _, e := range entries {
		if id, err := segment.ParseLogID(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// IsStore says whether a folder is, or was, a store's.
func IsStore(path string) bool {
	_, err := os.Lstat(filepath.Join(path, lockName))
	return err == nil
}

// Close unlocks the folder. Its logs have to be closed before.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if len(s.open) > 0 {
		return fmt.Errorf("close storage %s: %d logs are open", s.path, len(s.open))
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.stopped.Wait()
	s.mu.Lock()
	return s.lock.Close()
}

func (s *Store) dir(id segment.LogID) string { return filepath.Join(s.path, id.String()) }

// openLog removes unfinished files of a log, and returns the segments by first sequence,
// of which only the names were read. A log without a folder has none.
func (s *Store) openLog(id segment.LogID) (*Log, []*segFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	if s.open[id] != nil {
		return nil, nil, fmt.Errorf("log %s is open already", id)
	}
	l := newLog(s, id)
	if err := s.checkDir(l); err != nil {
		return nil, nil, err
	}
	entries, err := s.fs.ReadDir(l.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	var files []*segFile
	for _, e := range entries {
		name := e.Name()
		if base, ok := strings.CutSuffix(name, tempExt); ok {
			if _, ours := parseName(base); ours || base == latestName || base == ownerName {
				if err := s.fs.Remove(filepath.Join(l.dir, name)); err != nil {
					return nil, nil, err
				}
			}
		}
		if first, ok := parseName(name); ok {
			files = append(files, newSegFile(l.dir, name, first))
		}
	}
	slices.SortFunc(files, func(a, b *segFile) int {
		return cmp.Or(cmp.Compare(a.first, b.first), strings.Compare(a.name, b.name))
	})
	for i, f := range files {
		if i > 0 && files[i-1].first == f.first {
			return nil, nil, fmt.Errorf("log %s: %s and %s start with the same sequence", id, files[i-1].name, f.name)
		}
	}
	s.open[id] = l
	return l, files, nil
}

// checkDir returns an error if the folder of a log is a link, or a stranger's.
func (s *Store) checkDir(l *Log) error {
	switch _, err := s.fs.Readlink(l.dir); {
	case err == nil:
		return fmt.Errorf("%s is a link: %w", l.dir, private.ErrPlanted)
	case errors.Is(err, private.ErrPlanted):
		return err
	}
	return nil
}

// makeDir creates the folder of a log.
func (s *Store) makeDir(l *Log) error {
	if err := s.checkDir(l); err != nil {
		return err
	}
	if err := s.fs.Mkdir(l.dir); err != nil {
		return err
	}
	return s.fs.SyncDir(s.path)
}

// closeLog ends the log's readers, and lets it be opened again.
func (s *Store) closeLog(l *Log) {
	l.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, l.id)
	s.countLocked()
}

// removeLog removes the files and the folder of a log, as far as it can, unless it is
// the latest.
func (s *Store) removeLog(id segment.LogID) {
	if latest, _, err := s.latestLog(); err == nil && latest == id {
		return
	}
	s.removeFiles(id)
}

// removeFiles is removeLog for any log. Files that are not ours stay, and the folder then.
func (s *Store) removeFiles(id segment.LogID) {
	dir := s.dir(id)
	entries, err := s.fs.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		base, _ := strings.CutSuffix(e.Name(), tempExt)
		if _, ours := parseName(base); !ours && base != latestName && base != endName && base != ownerName {
			continue
		}
		if err := s.fs.Remove(filepath.Join(dir, e.Name())); err != nil {
			s.log.Warn("remove log", "log_id", id.String(), "err", err)
		}
	}
	if err := s.fs.Remove(dir); err != nil {
		s.log.Warn("remove log", "log_id", id.String(), "err", err)
	}
}

// Remove removes the files and the folder of a log that is not open, as far as it can.
func (s *Store) Remove(id segment.LogID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.unlink(id); err != nil {
		s.log.Warn("remove log", "log_id", id.String(), "err", err)
		return
	}
	s.removeFiles(id)
}

// unlink has the store's link for the newest segment point at another log, if it points
// at one. The caller holds the lock.
func (s *Store) unlink(id segment.LogID) error {
	link := filepath.Join(s.path, latestName)
	if target, err := s.fs.Readlink(link); err != nil || filepath.Dir(target) != id.String() {
		return nil // Without a link there is none to be changed.
	}
	var newest *Log
	var created int64
	for _, l := range s.open {
		if at, ok := l.created(); ok && (newest == nil || at > created) {
			newest, created = l, at
		}
	}
	if newest != nil {
		s.linking.Lock()
		defer s.linking.Unlock()
		return s.replaceLink(s.path, filepath.Join(newest.id.String(), latestName))
	}
	return s.fs.Remove(link)
}

// removeUnstarted removes logs that have no segment and never had one, since the process
// was killed while it created them: nobody knows of them.
func (s *Store) removeUnstarted(present segment.LogID) {
	for _, id := range s.Logs() {
		if id == present {
			continue
		}
		entries, err := s.fs.ReadDir(s.dir(id))
		if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { _, ok := parseName(e.Name()); return ok }) {
			continue
		}
		if e, err := s.readEnd(s.dir(id)); errors.Is(err, errNotMarked) || err == nil && e.sequence == 0 {
			s.removeLog(id)
		}
	}
}

// link points the links for the newest segment at a file. Each is created under another
// name and renamed, so that there is one at every instant.
func (s *Store) link(l *Log, name string) error {
	if err := s.replaceLink(l.dir, name); err != nil || l.ended {
		return err
	}
	s.linking.Lock()
	defer s.linking.Unlock()
	return s.replaceLink(s.path, filepath.Join(l.id.String(), latestName))
}

func (s *Store) replaceLink(dir, target string) error {
	link, temp := filepath.Join(dir, latestName), filepath.Join(dir, latestName+tempExt)
	if have, err := s.fs.Readlink(link); err == nil && have == target {
		return nil
	}
	if err := s.fs.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := s.fs.Symlink(target, temp); err != nil {
		return err
	}
	if err := s.fs.Rename(temp, link); err != nil {
		return err
	}
	return s.fs.SyncDir(dir)
}

func (s *Store) reportDamage(d *DamageError) {
	s.metrics.damaged.Inc()
	s.log.Error("segment is damaged", "file", d.File, "offset", d.Offset, "err", d.Err)
}
