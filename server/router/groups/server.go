package groups

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/server/router/raw"
)

const (
	// askEvery is how often a server is asked for its state.
	askEvery = time.Second
	// askTime is how long it may take to answer.
	askTime = 5 * time.Second
	// shunned is how long a server is called after the others that has just failed.
	shunned = 2 * time.Second
)

// server is a server of a group.
type server struct {
	group   *Group
	address string
	conns   conns

	mu     sync.Mutex
	status *metricsv1.GetStatusResponse // its last, nil: it has not answered yet
	err    error                        // why it does not answer now
	other  bool                         // it is of another group
	shun   time.Time                    // until when it is called after the others
	asked  int                          // how often it was asked
	newest int                          // which time it was that was answered last
}

func newServer(g *Group, address string) *server {
	return &server{group: g, address: address, conns: conns{caller: g.all.caller, address: address}}
}

// watch asks the server again and again until ctx ends. Then its connections are closed
// once no call is under way on them.
func (s *server) watch(ctx context.Context) {
	defer s.conns.retire()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		s.ask(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask asks for the server's state.
func (s *server) ask(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s.mu.Lock()
	s.asked++
	number := s.asked
	s.mu.Unlock()
	status := new(metricsv1.GetStatusResponse)
	err := s.call(within, metricsv1connect.MetricsServiceGetStatusProcedure, &metricsv1.GetStatusRequest{}, status)
	if ctx.Err() != nil {
		return // Nobody waits for it any more.
	}
	s.take(number, status, err)
	s.group.changed()
}

// take keeps what the server said when it was asked for that time, and logs what has changed.
// Where it was asked by two at once, what the later one was told counts, whichever comes first.
func (s *server) take(number int, status *metricsv1.GetStatusResponse, err error) {
	other := err == nil && s.saysAnother(status)
	if other {
		err = fmt.Errorf("it says that it is a server of group %s", status.GetGroup())
	}
	s.mu.Lock()
	if number < s.newest {
		s.mu.Unlock()
		return
	}
	s.newest = number
	first, failed := s.status == nil && s.err == nil, s.err != nil
	s.err = err
	switch {
	case err == nil:
		s.status, s.other = status, false
	case other:
		s.status, s.other = nil, true
	}
	s.mu.Unlock()
	log := s.group.all.logger
	switch {
	case err != nil && !failed:
		log.Warn("a server of a group does not answer", "group", s.group.name, "server", s.address, "err", err)
	case err == nil && (failed || first):
		log.Info("a server of a group answers", "group", s.group.name, "server", s.address, "instance", status.GetInstance())
	}
}

// saysAnother says whether the logs of a server are of another group. Where nothing spreads
// series over groups, the file may call them as it likes.
func (s *server) saysAnother(status *metricsv1.GetStatusResponse) bool {
	of := status.GetGroup()
	return of != "" && of != s.group.name && s.group.all.Placement() != nil
}

// isOfAnother says whether it said so last.
func (s *server) isOfAnother() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.other
}

// said returns the server's last state, nil if it has not answered yet, and why it does not
// answer now.
func (s *server) said() (*metricsv1.GetStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.err
}

// rank is lower for a server that should rather be called.
func (s *server) rank() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	rank := 0
	switch {
	case s.err != nil || s.status == nil:
		rank = 4
	case !s.status.GetReady():
		rank = 2
	}
	if time.Now().Before(s.shun) {
		rank++
	}
	return rank
}

// failed has the server called after the others for a while, if another server may answer
// what this one did not.
func (s *server) failed(err error) {
	if !Passes(err) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shun = time.Now().Add(shunned)
}

// open makes a call with many answers.
func (s *server) open(ctx context.Context, procedure string, request proto.Message) (*Stream, error) {
	ctx, err := s.signed(ctx)
	if err != nil {
		return nil, err
	}
	c, done, err := s.conns.take()
	if err != nil {
		return nil, err
	}
	opened, err := raw.Open(ctx, c, procedure, request)
	if err != nil {
		done()
		s.failed(err)
		return nil, err
	}
	return &Stream{Stream: opened, server: s, done: done}, nil
}

// invoke makes a call with one answer.
func (s *server) invoke(ctx context.Context, procedure string, request, response proto.Message) error {
	err := s.call(ctx, procedure, request, response)
	if err != nil {
		s.failed(err)
	}
	return err
}

// call calls the server on one of its connections.
func (s *server) call(ctx context.Context, procedure string, request, response proto.Message) error {
	ctx, err := s.signed(ctx)
	if err != nil {
		return err
	}
	c, done, err := s.conns.take()
	if err != nil {
		return err
	}
	defer done()
	if err := c.Invoke(ctx, procedure, request, response); err != nil {
		return raw.Error(err)
	}
	return nil
}
