package merge

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/internal/segment"
)

// Groups are all groups of servers that there are now.
type Groups interface {
	// Groups returns them by name, and a channel that is closed when there are others, or
	// something of one has changed.
	Groups() (list []Group, changed <-chan struct{})
}

// Group is a group of servers that have the same logs. It can be used after it has left
// the list, too. One that has come back is not equal to the one before, whose servers are
// found no more.
type Group interface {
	Name() string
	// Logs are those that any of its servers has or had, as of when it was asked last. They
	// are not known before its servers have answered, or were waited for.
	Logs() (ids map[segment.LogID]bool, known bool)
	// Away says that none of its servers answers.
	Away() bool
	// Servers is how many there are.
	Servers() int
	// Refresh asks its servers which logs they have.
	Refresh(ctx context.Context)
	// Open makes a call at one of its servers, rather not at one that has just failed. Its
	// error, and those of the stream, are of package connect.
	Open(ctx context.Context, procedure string, request proto.Message) (Upstream, error)
}

// Upstream is a stream of one server.
type Upstream interface {
	// Receive returns the next message, in the room that is given if that is enough, or
	// io.EOF after the last.
	Receive(into []byte) ([]byte, error)
	Close()
}
