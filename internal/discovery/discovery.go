// Package discovery finds the instances of a peer service.
//
// A source says which instances there are and when that changes. It does not
// say whether an instance answers: those who dial find out.
package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// Instance is one running peer.
type Instance struct {
	// ID is stable for the life of the instance and unique in its set.
	ID string
	// Address to dial, host:port. A host name is resolved at each dial.
	Address string
}

// Source watches the instances of one service.
type Source interface {
	// Watch sends the full set at once as soon as it is known, and again on
	// every change. Only the newest set is kept for a slow reader, so the
	// source never waits for it. The channel is closed when ctx ends. The
	// sets are the reader's to keep.
	Watch(ctx context.Context) <-chan []Instance
}

// Options of a source.
type Options struct {
	// Logger for changes of the set and for errors of the source. Nil: none.
	Logger *slog.Logger
}

// Parse returns the source that spec names: a list "host:port,host:port".
func Parse(spec string, _ Options) (Source, error) {
	if scheme, _, ok := strings.Cut(spec, "://"); ok {
		return nil, fmt.Errorf("peers %q: unknown scheme %q, want host:port[,host:port…]", spec, scheme)
	}
	return parseStatic(spec)
}
