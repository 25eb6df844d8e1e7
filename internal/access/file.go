package access

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/identity"
)

// File is an access file in use. All methods may be called on nil, which is the file of a
// program that has none, and concurrently.
type File struct {
	path    string
	logger  *slog.Logger
	prepare func(*Policy) (any, error)

	current atomic.Pointer[state]
	checked atomic.Int64 // when the files were last looked at, in ns since start
	pause   atomic.Int64 // in ns, from then until they are looked at again
	start   time.Time

	mu      sync.Mutex // for what follows
	paths   []string   // of all files, the access file first
	read    stamp      // of what was read last, though it may be wrong
	seen    stamp      // of what was last seen
	seenAt  time.Time
	readAt  time.Time
	failing bool
}

// state is what the file says.
type state struct {
	roles    map[Role]identity.Names
	policies []*Policy // in the order of the file
	tokens   map[[sha256.Size]byte]*Policy
	users    map[string]*Policy
	// certificates of policies, in the order of the file: the first that match count.
	certificates []certificates
	anonymous    *Policy
	// servers is the policy of certificates with the role of a server, nil without policies
	// or where nobody is named for it.
	servers *Policy
	keys    []cursor.Key
}

type certificates struct {
	names  identity.Names
	policy *Policy
}

// settled is how long files have to be unchanged before they are read again, so that
// what is being written is not, and how often they are looked at.
const settled = 100 * time.Millisecond

// To look at thousands of files takes longer. It is done for one part in pauseFactor of the
// time, but after longestPause at the latest.
const (
	pauseFactor  = 20
	longestPause = 5 * time.Second
)

// retry is after how long files that are wrong are read again, though none looks changed:
// its owner may have been mended, or the process had no descriptor left.
const retry = time.Second

func open(path string, logger *slog.Logger, prepare func(*Policy) (any, error)) (*File, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f := &File{path: path, logger: logger, prepare: prepare, start: time.Now(), paths: []string{path}}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(); err != nil {
		return nil, err
	}
	f.pause.Store(int64(settled))
	return f, nil
}

// now returns what the file says now. Who comes while another looks is not kept waiting.
func (f *File) now() *state {
	since := int64(time.Since(f.start))
	if at := f.checked.Load(); since-at >= f.pause.Load() && f.checked.CompareAndSwap(at, since) && f.mu.TryLock() {
		began := time.Now()
		f.look()
		f.pause.Store(int64(pauseAfter(time.Since(began))))
		f.mu.Unlock()
	}
	return f.current.Load()
}

// pauseAfter is how long files are not looked at after that took so long.
func pauseAfter(looking time.Duration) time.Duration {
	return min(max(settled, pauseFactor*looking), longestPause)
}

// look reads the files again if they have changed, and are not being written. The caller
// holds mu.
func (f *File) look() {
	stamp, newest := stampOf(f.paths)
	now := time.Now()
	if stamp != f.seen {
		f.seen, f.seenAt = stamp, now
	}
	unchanged := stamp == f.read && !(f.failing && now.Sub(f.readAt) >= retry)
	// The clock of whoever wrote may be ahead.
	if unchanged || now.Sub(newest) < settled && now.Sub(f.seenAt) < settled {
		return
	}
	_ = f.load() // It was told.
}

// Reload reads the files, and says if that fails. The last good one stays in use then.
func (f *File) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.load()
}

// Again returns Reload, and nil of no file.
func (f *File) Again() func() error {
	if f == nil {
		return nil
	}
	return f.Reload
}

// Version changes with what the file says.
func (f *File) Version() any {
	if f == nil {
		return nil
	}
	return f.now()
}

// load reads the files, and logs a line if it turns out that they are wrong, or right
// again. The caller holds mu.
func (f *File) load() error {
	f.readAt = time.Now()
	next, err := f.parse()
	if err == nil {
		next.keep(f.current.Load())
		f.current.Store(next)
	}
	if failed := err != nil; failed != f.failing {
		f.failing = failed
		if failed {
			f.logger.Error("the access file is wrong, what it said before stays in use", "err", err)
		} else {
			f.logger.Info("the access file is right again", "path", f.path)
		}
	}
	return err
}

// mostBytes is the most that an access file may have.
const mostBytes = 4 << 20

// mostPasses bounds how often files are read until it is known which they are.
const mostPasses = 3

// parse reads the access file and the files that it names. Which those are shows only
// then; it reads them once more if they were others before, so that no change after the
// stamp was taken goes unnoticed.
func (f *File) parse() (next *state, err error) {
	for range mostPasses {
		f.read, _ = stampOf(f.paths)
		var text []byte
		if text, err = readFile(f.path); err != nil {
			return nil, fmt.Errorf("%s: %w", Flag, err)
		}
		var named []string
		next, named, err = parse(text, f.path, f.prepare)
		paths := append([]string{f.path}, named...)
		if slices.Equal(paths, f.paths) {
			break
		}
		f.paths = paths
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", Flag, f.path, err)
	}
	if gone := next.lost(f.current.Load()); gone != "" {
		// A file that was cut off must not let everybody in.
		return nil, fmt.Errorf("%s %s: it has no %s any more, which would let everybody in: that takes a restart", Flag, f.path, gone)
	}
	return next, nil
}

// lost says what there is no longer any of, "" if all is there that was there before.
func (s *state) lost(before *state) string {
	switch {
	case before == nil:
	case len(before.policies) > 0 && len(s.policies) == 0:
		return "policies"
	default:
		for _, r := range []Role{Receiver, Forwarder, Server} {
			if len(before.roles[r]) > 0 && len(s.roles[r]) == 0 {
				return "role " + string(r)
			}
		}
	}
	return ""
}

func readFile(path string) ([]byte, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, mostBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > mostBytes {
		return nil, fmt.Errorf("it has more than %d bytes", mostBytes)
	}
	return text, nil
}

// keep takes the policies of before in place of those of s that say the same.
func (s *state) keep(before *state) {
	if before == nil {
		return
	}
	named := make(map[string]*Policy, len(before.policies))
	for _, p := range before.policies {
		named[p.Name] = p
	}
	kept := map[*Policy]*Policy{nil: nil}
	for i, p := range s.policies {
		kept[p] = p
		if was := named[p.Name]; was != nil && p.says(was) {
			kept[p] = was
		}
		s.policies[i] = kept[p]
	}
	for token, p := range s.tokens {
		s.tokens[token] = kept[p]
	}
	for user, p := range s.users {
		s.users[user] = kept[p]
	}
	for i := range s.certificates {
		s.certificates[i].policy = kept[s.certificates[i].policy]
	}
	s.anonymous = kept[s.anonymous]
	if s.servers != nil && before.servers != nil {
		s.servers = before.servers // It always says the same.
	}
}

// stamp says which version of files there is.
type stamp string

// stampOf also returns when the newest was written.
func stampOf(paths []string) (_ stamp, newest time.Time) {
	var all []byte
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			all = fmt.Appendf(all, "%q: %v\n", path, err)
			continue
		}
		all = fmt.Appendf(all, "%q: %d bytes, %d\n", path, info.Size(), info.ModTime().UnixNano())
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return stamp(all), newest
}
