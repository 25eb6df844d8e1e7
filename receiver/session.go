package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/placement"
)

// errLost says that the verdict will never come. The batch may have been stored.
var errLost = errors.New("the link to the forwarder was lost before it answered")

// session is one connection to a forwarder, with many batches under way.
type session struct {
	conn      *link.Conn
	maxBatch  int
	placement []byte // that it said

	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]chan *linkv1.Verdict
	ended   bool
	idle    chan struct{} // Closed once nothing is waiting, where somebody asked.
}

func newSession(conn *link.Conn, said *linkv1.Hello, w *linkv1.Welcome) *session {
	return &session{conn: conn, maxBatch: int(w.GetMaxBatchBytes()), placement: said.GetPlacement(), waiting: make(map[uint64]chan *linkv1.Verdict)}
}

// says says whether the link said a placement, nil for none.
func (s *session) says(p *placement.Placement) bool {
	return p == nil && len(s.placement) == 0 || p != nil && bytes.Equal(s.placement, p.Bytes())
}

// write gives the batch an id, sends it and waits for its verdict. It is the caller's
// again when it returns.
func (s *session) write(ctx context.Context, batch *linkv1.Batch) (*linkv1.Verdict, error) {
	if s.maxBatch > 0 && len(batch.GetBody()) > s.maxBatch {
		return &linkv1.Verdict{Code: linkv1.Code_CODE_TOO_LARGE, Errors: []string{
			fmt.Sprintf("%d bytes, the forwarder takes %d in one batch", len(batch.GetBody()), s.maxBatch),
		}}, nil
	}
	id, verdict, ok := s.expect()
	if !ok {
		return nil, errLost
	}
	defer s.forget(id)
	batch.Id = id
	err := s.conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Batch{Batch: batch}})
	if err != nil {
		_ = s.conn.Close() // Receive returns and ends the session.
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	select {
	case v := <-verdict:
		if v == nil {
			return nil, errLost
		}
		return v, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// expect returns an id for a batch, and where its verdict comes.
func (s *session) expect() (uint64, <-chan *linkv1.Verdict, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, nil, false
	}
	s.lastID++
	ch := make(chan *linkv1.Verdict, 1)
	s.waiting[s.lastID] = ch
	return s.lastID, ch, true
}

// forget no longer waits for a verdict.
func (s *session) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, id)
	s.tellIdle()
}

func (s *session) tellIdle() {
	if len(s.waiting) == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// drained returns a channel that is closed when no batch is under way.
func (s *session) drained() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{})
	s.idle = ch
	s.tellIdle()
	return ch
}

// receive passes verdicts to those who wait, until the connection ends. Then they are
// told so.
func (s *session) receive() error {
	defer s.fail()
	for {
		f, err := s.conn.Receive()
		if err != nil {
			return err
		}
		v := f.GetVerdict()
		if v == nil {
			return fmt.Errorf("the forwarder sent %T, only verdicts are expected", f.GetKind())
		}
		s.mu.Lock()
		ch := s.waiting[v.GetId()]
		delete(s.waiting, v.GetId()) // A verdict after its deadline finds nobody.
		s.tellIdle()
		s.mu.Unlock()
		if ch != nil {
			ch <- v
		}
	}
}

func (s *session) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *session) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for id, ch := range s.waiting {
		close(ch)
		delete(s.waiting, id)
	}
	s.tellIdle()
}
