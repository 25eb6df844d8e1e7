package renew

import (
	"log/slog"
	"os"
	"time"
)

// settling is how long a file may have changed again without a change of its times, on
// a file system that counts them coarsely.
const settling = 2 * time.Second

// retry is after how long what could not be read is read again, though no file looks
// changed: its owner may have been mended, or the process had no descriptor left.
const retry = time.Second

// NewParsed returns a value that takes work to read, so that each use only looks
// whether its files have changed. read calls uses with the name of each file before it
// reads it.
func NewParsed[T any](what string, read func(uses func(file string)) (T, error), logger *slog.Logger) (*Value[T], error) {
	p := &parsed[T]{read: read, retry: retry}
	return New(what, p.get, logger)
}

// parsed is what was read last, guarded by its Value.
type parsed[T any] struct {
	read  func(uses func(file string)) (T, error)
	retry time.Duration
	files []state
	at    time.Time
	value T
	err   error
}

func (p *parsed[T]) get() (T, error) {
	if p.changed() || p.err != nil && time.Since(p.at) >= p.retry {
		p.files, p.at = p.files[:0], time.Now()
		p.value, p.err = p.read(func(file string) { p.files = append(p.files, stateOf(file)) })
	}
	return p.value, p.err
}

func (p *parsed[T]) changed() bool {
	for _, before := range p.files {
		if !before.holds() {
			return true
		}
	}
	return len(p.files) == 0
}

// state is what a file was, as far as can be seen without reading it.
type state struct {
	file    string
	info    os.FileInfo // nil if there is none
	settled bool        // no change can have been missed
}

func stateOf(file string) state {
	info, err := os.Stat(file)
	if err != nil {
		return state{file: file, settled: true}
	}
	// One that seems to be written later has its time from elsewhere.
	return state{file, info, time.Since(info.ModTime()).Abs() > settling}
}

func (s state) holds() bool {
	now, err := os.Stat(s.file)
	switch {
	case !s.settled:
		return false
	case err != nil || s.info == nil:
		return err != nil && s.info == nil
	}
	return os.SameFile(s.info, now) && s.info.Size() == now.Size() && s.info.ModTime().Equal(now.ModTime())
}
