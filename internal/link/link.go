// Package link carries frames between the parts over TCP.
//
// A frame is a linkv1.Frame preceded by its length as a varint. The side that
// dialled says hello, the other answers with a welcome or a goodbye. After that
// either side sends whenever it likes.
//
// Guaranteed: frames arrive whole, in order, or the connection ends. No length
// is believed before it is checked against the limit, and no memory is taken
// before its bytes arrive. A peer that is gone, hung or cut off is noticed
// within IdleTimeout by who reads and within WriteTimeout by who writes.
// Whatever a peer sends ends its own connection at worst.
//
// Not guaranteed: that a frame which was sent has been received. Who needs to
// know asks for an answer.
package link

import (
	"cmp"
	"crypto/tls"
	"log/slog"
	"time"
)

// Version of the protocol.
const Version = 1

const (
	// DefaultMaxFrame is the largest frame that is sent or received.
	DefaultMaxFrame = 64 << 20
	// DefaultMaxConns is how many connections a listener takes at a time.
	DefaultMaxConns = 1024
	// maxHandshake is the largest hello, welcome or goodbye of a handshake.
	maxHandshake = 4 << 10
)

// Options of a connection or a listener. The zero value is usable.
type Options struct {
	// Logger for connections that were refused or broken. Nil: none.
	Logger *slog.Logger
	// Metrics to count in, shared by any number of listeners and dialled
	// connections. Nil: none.
	Metrics *Metrics
	// Instance is the name to give in a welcome that has none, and in a hello
	// that has none.
	Instance string
	// TLS configuration of the side that these options are for. Nil: no TLS.
	TLS *tls.Config
	// MaxFrame in bytes, of frames in both directions. 0: [DefaultMaxFrame].
	MaxFrame int
	// MaxConns at a time that a listener takes. 0: [DefaultMaxConns].
	MaxConns int
	// HandshakeTimeout from the connection's begin to its welcome. 0: 5 s.
	HandshakeTimeout time.Duration
	// PingInterval after which a side that has sent nothing sends a ping. 0: 5 s.
	PingInterval time.Duration
	// IdleTimeout after which a side that has heard nothing gives up. 0: 15 s.
	IdleTimeout time.Duration
	// WriteTimeout for each MiB that is sent. 0: 15 s.
	WriteTimeout time.Duration
	// DrainTimeout that Run gives the handlers to return. 0: 10 s.
	DrainTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	o.MaxFrame = cmp.Or(o.MaxFrame, DefaultMaxFrame)
	o.MaxConns = cmp.Or(o.MaxConns, DefaultMaxConns)
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, 5*time.Second)
	o.PingInterval = cmp.Or(o.PingInterval, 5*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 15*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 15*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 10*time.Second)
	return o
}
