package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/server/refusal"
)

// Group is a group of servers, which have the same logs. One that has left the list and come
// back is not equal to the one before, whose servers are found no more.
type Group interface {
	Name() string
	// Away says that none of its servers answers.
	Away() bool
	// Open makes a call at one of its servers, rather not at one that has just failed. Its
	// error, and those of the stream, are of package connect.
	Open(ctx context.Context, procedure string, request proto.Message) (Stream, error)
}

// Stream is a call that a server answers with many messages.
type Stream interface {
	// Receive returns the next message, in the room that is given if that is enough, or
	// io.EOF after the last.
	Receive(into []byte) ([]byte, error)
	Close()
}

// Groups are all groups that there are now.
type Groups interface {
	// Groups returns them, sorted by name, and a channel that is closed when there are
	// others, or one is away or back.
	Groups() (list []Group, changed <-chan struct{})
}

// betweenAttempts is how long is waited before a call is made again.
const betweenAttempts = 100 * time.Millisecond

// receiver takes what a call brings.
type receiver interface {
	// receive takes a message, which is the receiver's.
	receive(wire []byte) error
	// complete says whether all is there.
	complete() bool
	// again forgets what came, since the call is made again.
	again()
}

// attempt makes a call of a group until one is answered whole, for as long as it may take
// to find a server that answers.
func attempt(ctx context.Context, g Group, most time.Duration, procedure string, request proto.Message, r receiver) error {
	until := time.Now().Add(most)
	for {
		err := once(ctx, g, procedure, request, r)
		if err == nil || ctx.Err() != nil || !passes(err) {
			return err
		}
		r.again()
		if time.Until(until) < betweenAttempts {
			return &refusal.AwayError{Groups: []string{g.Name()}, Cause: err}
		}
		if err := backoff.Sleep(ctx, betweenAttempts); err != nil {
			return err
		}
	}
}

// errCutOff is of a call that ended before all was there.
var errCutOff = connect.NewError(connect.CodeUnavailable, errors.New("the call was cut off"))

// once makes a call, and receives all that comes.
func once(ctx context.Context, g Group, procedure string, request proto.Message, r receiver) error {
	s, err := g.Open(ctx, procedure, request)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		wire, err := s.Receive(nil)
		switch {
		case errors.Is(err, io.EOF) && !r.complete():
			return errCutOff
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := r.receive(wire); err != nil {
			return fmt.Errorf("group %s: %w", g.Name(), err)
		}
	}
}

// passes says whether another server, or the same one later, may answer.
func passes(err error) bool {
	var call *connect.Error
	if !errors.As(err, &call) {
		return false
	}
	switch call.Code() {
	case connect.CodeUnavailable, connect.CodeAborted, connect.CodeInternal, connect.CodeUnknown, connect.CodeCanceled, connect.CodeDataLoss:
		return true
	}
	return false
}
