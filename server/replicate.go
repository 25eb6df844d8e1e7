package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/segment"
)

// errReplaced is told to a forwarder whose connection gave way to a newer one.
var errReplaced = errors.New("a newer connection sends this log")

// replicate serves one connection of a forwarder: it says how far this replica
// has come, takes over what follows, and acknowledges it.
func (s *Server) replicate(ctx context.Context, c *link.Conn, hello *linkv1.Hello) error {
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
	r, release, err := s.takeReplica(ctx, id, c)
	if err != nil {
		return err
	}
	defer release()
	r.ending.note(hello.GetEnded())

	who := []any{"log_id", id.String(), "forwarder", hello.GetInstance(), "peer", c.RemoteAddr().String()}
	position := r.position()
	if err := c.Welcome(&linkv1.Welcome{Position: position}); err != nil {
		return err
	}
	s.log.Log(slog.LevelInfo, "forwarder connected", append(slices.Clip(who), "last_sequence", position.GetSequence())...)
	defer s.log.Log(slog.LevelInfo, "forwarder disconnected", who...)
	a := newAcks(func() {
		if p := r.position(); p != nil {
			// Where it fails, the next Receive does, too.
			_ = c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Position{Position: p}})
		}
	})
	defer a.stop()
	for {
		f, err := c.Receive()
		switch {
		case errors.Is(err, link.ErrInterrupted) && ctx.Err() == nil:
			return errReplaced
		case err != nil:
			return err
		}
		if fetch, ok := f.GetKind().(*linkv1.Frame_Fetch); ok {
			err = s.giveBack(ctx, c, r, fetch.Fetch.GetAfterSequence())
		} else {
			err = s.take(r, f, a, who)
		}
		if err != nil {
			return err
		}
	}
}

// takeReplica returns the replica of a log with its feed taken.
func (s *Server) takeReplica(ctx context.Context, id segment.LogID, c feeder) (*replica, func(), error) {
	for {
		r, err := s.replicas.open(id)
		if err != nil {
			return nil, nil, err
		}
		if !r.feed.take(ctx, c) {
			return nil, nil, ctx.Err()
		}
		if !r.broken.Load() {
			return r, func() { r.feed.release(c) }, nil
		}
		// It broke while the connection before let go.
		r.feed.release(c)
	}
}

// position is what the replica has, nil if it has nothing.
func (r *replica) position() *linkv1.Position {
	sequence, checksum, ok := r.files.Position()
	if !ok {
		return nil
	}
	return &linkv1.Position{LogId: r.id[:], Sequence: sequence, Checksum: checksum}
}

// take takes over one frame. Who sent it is for the log.
func (s *Server) take(r *replica, f *linkv1.Frame, a *acks, who []any) error {
	switch k := f.GetKind().(type) {
	case *linkv1.Frame_Segment:
		return r.startSegment(k.Segment.GetName(), k.Segment.GetFirstSequence())
	case *linkv1.Frame_Append:
		err := r.append(k.Append.GetOffset(), k.Append.GetData())
		s.replicas.news.Wake()
		if err != nil {
			return err
		}
		a.next()
	case *linkv1.Frame_Tail:
		r.setTail(k.Tail.GetSequence())
		s.replicas.news.Wake()
	case *linkv1.Frame_Gap:
		s.gap(who, k.Gap.GetAfterSequence(), k.Gap.GetNextSequence())
	default:
		return fmt.Errorf("a forwarder has no reason to send a %T", k)
	}
	return nil
}

// gap notes that blocks will never come. Followers are told by the reader of the
// log, at its place.
func (s *Server) gap(who []any, after, next uint64) {
	s.metrics.gaps.Inc()
	s.log.Log(slog.LevelWarn, "blocks are missing for ever", append(slices.Clip(who), "after_sequence", after, "next_sequence", next)...)
}
