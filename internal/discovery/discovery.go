// Package discovery finds the instances of a peer service, and announces an
// instance of our own.
//
// A source says which instances there are and when that changes. It does not
// say whether an instance answers: those who dial find out. While nobody can be
// asked, what was known last stays, and for a while after that, since a
// directory that has been restarted learns of its services one by one: see
// [Grace].
package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Syntax of a specification, for the help of flags.
const Syntax = "host:port[,host:port…], consul://[AGENT[:8500]]/SERVICE[?tag=TAG] or dns+srv://NAME"

// Grace is how long an instance stays in the set after a directory stopped
// naming it, when that says little: because the directory could not be asked
// just before, or because it suddenly knows no instance at all. In all other
// cases the instance is left out at once.
const Grace = 30 * time.Second

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
	// PortMeta is the key in the meta of a Consul service under which the port
	// to dial stands, such as [MetaLinkPort]. "": the port of the service. The
	// other sources name the right port themselves.
	PortMeta string
	// Unready includes instances whose health checks in Consul fail: those that
	// become ready only through whoever dials them.
	Unready bool
	// Resolver for dns+srv. Nil: that of the system.
	Resolver *net.Resolver
}

// Reload returns what reloads the files by which a source reaches its directory, and
// says if that fails. Each question reloads them, too. Nil: there are none.
func Reload(s Source) func() error {
	if c, ok := s.(*consul); ok {
		return c.agent.reload
	}
	return nil
}

// Parse returns the source that spec names, which is one of [Syntax].
func Parse(spec string, o Options) (Source, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	scheme, rest, ok := strings.Cut(spec, "://")
	if !ok {
		return parseStatic(spec)
	}
	var source Source
	var err error
	switch scheme {
	case "consul":
		source, err = parseConsul(rest, o)
	case "dns+srv":
		source, err = parseDNS(rest, o)
	default:
		err = fmt.Errorf("unknown scheme %q, want %s", scheme, Syntax)
	}
	if err != nil {
		return nil, fmt.Errorf("peers %q: %w", spec, err)
	}
	return source, nil
}
