package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// errReplaced is sent to a forwarder whose connection was replaced by a newer one.
var errReplaced = errors.New("a newer connection sends this log")

// Replicate serves one connection of a forwarder: it sends the replica's position,
// appends what comes after it, and acknowledges that.
func (f *Feed) Replicate(ctx context.Context, c *link.Conn, hello *linkv1.Hello) error {
	if hello.GetRole() != linkv1.Role_ROLE_FORWARDER {
		return fmt.Errorf("role %s is not served here: this is a server, which takes the log of a forwarder", hello.GetRole())
	}
	var id segment.LogID
	if len(hello.GetLogId()) != len(id) {
		return fmt.Errorf("log id has %d bytes, want %d", len(hello.GetLogId()), len(id))
	}
	copy(id[:], hello.GetLogId())
	if id.IsZero() {
		return errors.New("log id is zero")
	}
	r, err := f.replicas.Lease(ctx, id, replica.Source{Feeder: c, Names: f.owners(c.Identity().Names), New: f.newLogs.Hold(c.Peer())})
	if err != nil {
		return f.counted(err)
	}
	defer r.Release()
	if hello.GetEnded() {
		r.EndedBy(time.Now())
	} else {
		r.GoesOn()
	}

	who := []any{"log_id", id.String(), "forwarder", hello.GetInstance(), "peer", c.RemoteAddr().String()}
	position := linkPosition(r.Replica, hello.GetDurable())
	if err := c.Welcome(&linkv1.Welcome{Position: position}); err != nil {
		return err
	}
	f.log.Log(slog.LevelInfo, "forwarder connected", append(slices.Clip(who), "last_sequence", position.GetSequence())...)
	defer f.log.Log(slog.LevelInfo, "forwarder disconnected", who...)
	if !hello.GetEnded() {
		telling, stop := context.WithCancel(ctx)
		defer stop()
		// Who waits to send ends with the connection, which is closed after this returns.
		f.telling.Go(func() { f.tellElections(telling, c, r.Replica) })
	}
	a := acknowledge(c, r.Replica, hello.GetDurable())
	err = f.receive(ctx, c, sink{r, f, who}, a)
	if failed := a.end(); failed != nil {
		return fmt.Errorf("force log %s to the disk: %w", id, failed)
	}
	return err
}

// acknowledging tells a forwarder how far its log has come.
type acknowledging interface {
	// schedule has the current position told soon.
	schedule()
	// end stops that, and says why it ended before.
	end() error
}

// acknowledge starts to acknowledge what a connection brings: what is written or, if the
// forwarder asks for that, what is forced to the disk.
func acknowledge(c *link.Conn, r *replica.Replica, durable bool) acknowledging {
	send := func() {
		if p := linkPosition(r, durable); p != nil {
			// If it fails, so does the next Receive.
			_ = c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Position{Position: p}})
		}
	}
	if !durable {
		return newAcks(send)
	}
	f := newForcing(func() error {
		if err := r.Force(); err != nil {
			return err
		}
		send()
		return nil
	}, c.Interrupt)
	f.schedule() // what is there already
	return f
}

// receive takes what comes until the connection ends.
func (f *Feed) receive(ctx context.Context, c *link.Conn, to sink, a acknowledging) error {
	for {
		frame, err := c.Receive()
		switch {
		case errors.Is(err, link.ErrInterrupted) && ctx.Err() == nil:
			return errReplaced
		case err != nil:
			return err
		}
		if fetch, ok := frame.GetKind().(*linkv1.Frame_Fetch); ok {
			err = f.sendBack(ctx, c, to.Replica, fetch.Fetch.GetAfterSequence())
		} else {
			err = f.deliver(to, frame, a)
		}
		if err != nil {
			return f.counted(err)
		}
	}
}

// linkPosition is what a replica has and, if that was asked for, how much of it is on the
// disk; nil if it has nothing.
func linkPosition(r *replica.Replica, durable bool) *linkv1.Position {
	sequence, checksum, ok := r.Position()
	if !ok {
		return nil
	}
	p := &linkv1.Position{LogId: r.ID[:], Sequence: sequence, Checksum: checksum}
	if durable {
		p.Durable = r.Durable()
	}
	return p
}

// deliver gives what a frame brings to its log.
func (f *Feed) deliver(to sink, frame *linkv1.Frame, a acknowledging) error {
	defer f.replicas.Updates.Wake()
	if tail, ok := frame.GetKind().(*linkv1.Frame_Tail); ok {
		to.SetTail(tail.Tail.GetSequence())
		return nil
	}
	err := logship.Deliver(frame, to)
	if _, ok := frame.GetKind().(*linkv1.Frame_Append); ok && err == nil {
		a.schedule()
	}
	return err
}

// owners are those of the names in a forwarder's certificate that a log can belong to:
// by which it is a forwarder or, where no roles are named, which not anybody may have.
// None are of a forwarder in this process: when the parts are separate one day, it comes
// by another name.
func (f *Feed) owners(names []string) []string {
	if f.trust.Within() {
		return nil
	}
	byRole := f.trust.ByRole()
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		if byRole {
			return f.trust.Roles.CheckRole(f.trust.Peer, []string{name}) != nil
		}
		return name == "localhost" || net.ParseIP(name).IsLoopback()
	})
}
