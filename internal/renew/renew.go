// Package renew reads what is renewed in files while a program runs: certificates,
// authorities, tokens.
//
// It guarantees that each use gets what the files say by then, without a restart or a
// signal, and the last value that could be read while they cannot be read, or are being
// written. Connections that are open stay as they are.
package renew

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// Value is what files say. It is safe for concurrent use.
type Value[T any] struct {
	what   string
	read   func() (T, error)
	logger *slog.Logger

	mu      sync.Mutex
	last    T
	failing bool
}

// New reads a value for the first time, which has to succeed. What it is goes to
// the log.
func New[T any](what string, read func() (T, error), logger *slog.Logger) (*Value[T], error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	v := &Value[T]{what: what, read: read, logger: logger}
	var err error
	if v.last, err = read(); err != nil {
		return nil, err
	}
	return v, nil
}

// Get reloads the files, and returns the last value that could be read.
func (v *Value[T]) Get() T {
	v.mu.Lock()
	defer v.mu.Unlock()
	_ = v.renew() // It was told.
	return v.last
}

// Reload reloads the files and says if that fails. The last value stays then.
func (v *Value[T]) Reload() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.renew()
}

// Getter returns Get, and nil of no value.
func (v *Value[T]) Getter() func() T {
	if v == nil {
		return nil
	}
	return v.Get
}

// Again returns Reload, and nil of no value.
func (v *Value[T]) Again() func() error {
	if v == nil {
		return nil
	}
	return v.Reload
}

// renew tells of failures, one line a change of state. The caller holds the lock.
func (v *Value[T]) renew() error {
	now, err := v.read()
	if failed := err != nil; failed != v.failing {
		v.failing = failed
		if failed {
			v.logger.Warn("cannot be reloaded, the last value stays in use", "what", v.what, "err", err)
		} else {
			v.logger.Info("can be reloaded again", "what", v.what)
		}
	}
	if err == nil {
		v.last = now
	}
	return err
}

// Token reads a token from a file, without the space around it. It is one that a
// header can carry.
func Token(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: want a token of printable ASCII", file)
	}
	return token, nil
}
