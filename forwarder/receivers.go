package forwarder

import (
	"context"
	"fmt"
	"sync"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/grouping"
	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
)

// receivers serves the connections of receivers.
type receivers struct {
	in       *ingest
	appender *appender
}

// maxPipelined is how many batches of one connection may wait for a verdict.
const maxPipelined = 256

// serve is a link.Handler.
func (r *receivers) serve(ctx context.Context, c *link.Conn, hello *linkv1.Hello) error {
	if hello.GetRole() != linkv1.Role_ROLE_RECEIVER {
		return fmt.Errorf("a forwarder takes links of receivers, not of %s", hello.GetRole())
	}
	said, err := grouping.Said(hello)
	if err != nil {
		return &link.MisplacedError{Err: err}
	}
	links := &r.appender.placed.links
	k := links.add(c, said.Version())
	err = r.welcome(ctx, c, said)
	if err == nil {
		err = r.exchange(ctx, c, said.Version())
	}
	if outdated := links.remove(k); outdated != nil {
		return outdated
	}
	return err
}

// welcome lets a receiver in whose placement fits the log.
func (r *receivers) welcome(ctx context.Context, c *link.Conn, said grouping.Belonging) error {
	if err := r.appender.greet(ctx, said); err != nil {
		return err
	}
	return c.Welcome(&linkv1.Welcome{MaxBatchBytes: uint32(r.in.maxBatch)})
}

// exchange takes batches, and sends verdicts, until the link ends.
func (r *receivers) exchange(ctx context.Context, c *link.Conn, version uint64) error {
	o := &outbox{peer: c.Peer(), version: version, wake: make(chan struct{}, 1)}
	slots := make(chan struct{}, maxPipelined)
	var sending sync.WaitGroup
	sending.Go(func() {
		for range o.wake {
			verdicts, rooms := o.drain()
			// An error is final and ends the reading side as well.
			_ = c.Send(verdicts...)
			for _, room := range rooms {
				room.Release()
				<-slots
			}
		}
	})
	err := r.read(ctx, c, slots, o)
	for range maxPipelined { // all verdicts are sent when all slots are free
		slots <- struct{}{}
	}
	close(o.wake)
	sending.Wait()
	if invariant.On {
		invariant.Check(len(o.verdicts) == 0, "%d verdicts were not sent", len(o.verdicts))
	}
	return err
}

func (r *receivers) read(ctx context.Context, c *link.Conn, slots chan struct{}, o *outbox) error {
	for {
		f, err := c.Receive()
		if err != nil {
			return err
		}
		k, ok := f.GetKind().(*linkv1.Frame_Batch)
		if !ok {
			return fmt.Errorf("a receiver does not send frames of the kind %T", f.GetKind())
		}
		slots <- struct{}{}
		if err := r.in.submit(ctx, k.Batch, c.Keep(), o); err != nil {
			<-slots
			return err
		}
	}
}

// outbox collects the verdicts for one connection, so that those of one group go out in
// one write. It holds [maxPipelined] at most, and put never waits.
type outbox struct {
	peer    string // that they are for
	version uint64 // of the placement by which the batches were sent

	mu       sync.Mutex
	verdicts []*linkv1.Frame
	rooms    []*limit.Hold // that they take until they are sent
	wake     chan struct{}
}

func (o *outbox) put(v *linkv1.Verdict, room *limit.Hold) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.verdicts = append(o.verdicts, &linkv1.Frame{Kind: &linkv1.Frame_Verdict{Verdict: v}})
	o.rooms = append(o.rooms, room)
}

// flush has what was put in sent.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.verdicts) == 0 {
		return
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// drain empties the outbox.
func (o *outbox) drain() ([]*linkv1.Frame, []*limit.Hold) {
	o.mu.Lock()
	defer o.mu.Unlock()
	verdicts, rooms := o.verdicts, o.rooms
	o.verdicts, o.rooms = nil, nil
	return verdicts, rooms
}
