// Package link carries frames between the parts over TCP.
//
// A frame is a linkv1.Frame preceded by its length as a varint. The side that
// dialled says hello, the other answers with a welcome or a goodbye. After that
// either side sends whenever it likes.
//
// Guaranteed: frames arrive whole and in order, or the connection ends. No length is
// believed before it is checked against the limit. The frames of all connections, from
// their length until they are released, take no more memory than there is room for: a
// frame without room waits in its connection, and one that has started can finish. A
// peer that is gone, hung or cut off is noticed by readers within IdleTimeout and by
// writers within WriteTimeout, and so is one that leaves a frame unfinished. Whatever a
// peer sends, at worst it ends its own connection. Where [Roles] name who may be at the
// other end, nobody else is, from before the hello is believed until PingInterval after
// a role was taken away or a certificate ended.
//
// Not guaranteed: that a frame which was sent has been received; whoever needs to know
// asks for an answer. Nor that there is room for peers that behave: enough others can
// hold all of it for as long as a slow frame may take.
package link

import (
	"cmp"
	"log/slog"
	"strings"
	"time"

	"github.com/promgrpc/exporter/internal/limit"
)

// Version of the protocol.
const Version = 1

const (
	// DefaultMaxFrame is the largest frame that is sent, and received by default.
	DefaultMaxFrame = 64 << 20
	// MaxSmall is the largest frame that carries no payload of bytes, as is every
	// one that a listener sends. Its message may take up several times the memory
	// of its bytes.
	MaxSmall = 16 << 10
	// FrameRoom is what a frame needs besides its payload.
	FrameRoom = 64 + maxTenant
	// maxTenant is the largest tenant of a batch: a label of package tenant.
	maxTenant = 512
	// DefaultMaxConns is how many connections a listener takes at a time.
	DefaultMaxConns = 1024
	// maxHandshake is the largest hello, welcome or goodbye of a handshake. A
	// frame of that size needs no room at any time.
	maxHandshake = 4 << 10
	// maxInstance is the longest name that a peer may have.
	maxInstance = 255
	// maxReason is how much of a goodbye's reason is sent and believed.
	maxReason = maxHandshake / 2
)

// flagAddress of the programs that listen gives the address.
const flagAddress = "--link.listen-address"

// flagConns of the programs that listen is what sets MaxConns.
const flagConns = "--limit.link-connections"

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
	// Trust that the side which these options are for has. Zero: anybody, in cleartext.
	Trust Trust
	// MaxFrame in bytes that is received. 0: [DefaultMaxFrame].
	MaxFrame int
	// Room in bytes for frames that are received, until they are released. A
	// frame that has none waits; each peer has its share. Nil: without bound.
	Room *limit.Budget
	// MaxConns at a time that a listener takes, if the process may open four times
	// as many files. 0: [DefaultMaxConns].
	MaxConns int
	// PeerShare is how many percent of them one peer may have. 0: all.
	PeerShare int
	// HandshakeTimeout from the start of the connection to its welcome. 0: 5 s.
	HandshakeTimeout time.Duration
	// PingInterval after which a side that has sent nothing sends a ping. 0: 5 s.
	PingInterval time.Duration
	// IdleTimeout after which a side that has heard nothing gives up, and within
	// which each MiB of a frame has to come. 0: 15 s.
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
	o.Instance = shorten(o.Instance, maxInstance)
	o.MaxFrame = cmp.Or(o.MaxFrame, DefaultMaxFrame)
	o.MaxConns = cmp.Or(o.MaxConns, DefaultMaxConns)
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, 5*time.Second)
	o.PingInterval = cmp.Or(o.PingInterval, 5*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 15*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 15*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 10*time.Second)
	return o
}

// shorten cuts a text to n bytes at most, and makes it valid UTF-8.
func shorten(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
