package server

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
)

// sender takes responses to a client, and cuts off one that takes nothing for
// the stall timeout. What the client sees then is a broken stream: a status
// would have to wait behind what it does not take.
type sender struct {
	out     *connect.ServerStream[response]
	peer    string
	timeout time.Duration
	timer   *time.Timer
	stalled atomic.Bool
}

func newSender(ctx context.Context, out *connect.ServerStream[response], timeout time.Duration) *sender {
	s := &sender{out: out, peer: out.Conn().Peer().Addr, timeout: timeout}
	controller, _ := ctx.Value(controllerKey{}).(*http.ResponseController)
	s.timer = time.AfterFunc(timeout, func() {
		s.stalled.Store(true)
		_ = controller.SetWriteDeadline(time.Unix(1, 0))
	})
	s.timer.Stop()
	return s
}

func (s *sender) send(r *response) error {
	s.timer.Reset(s.timeout)
	defer s.timer.Stop()
	return s.out.Send(r)
}

type controllerKey struct{}

// withController lets the handlers behind it set deadlines.
func withController(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), controllerKey{}, http.NewResponseController(w))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
