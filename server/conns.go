package server

import (
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/promgrpc/exporter/internal/limit"
)

// bounded returns the listener of the RPC port. It closes connections that are
// over the limit, which say nothing yet that could be answered.
func (s *Server) bounded(l net.Listener) net.Listener {
	return &limit.Listener{
		Listener: framesListener{l, s.config.CallRate},
		Budget:   s.conns,
		Proxies:  s.proxies,
		Refused: func(remote net.Addr, err error) {
			_ = s.refused(err) // counts it
			s.log.Log(slog.LevelWarn, "rpc connection closed", "peer", remote.String(), "err", err)
		},
	}
}

// unusedConns are the connections that have not carried a request. Browsers
// open some ahead, and a shutdown would wait seconds for what they might send.
type unusedConns struct {
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	draining bool
}

// track is for [http.Server.ConnState].
func (u *unusedConns) track(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if state != http.StateNew {
		delete(u.conns, c)
		return
	}
	if u.conns == nil {
		u.conns = make(map[net.Conn]struct{})
	}
	u.conns[c] = struct{}{}
	if u.draining {
		_ = c.Close()
	}
}

func (u *unusedConns) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.draining = true
	for c := range u.conns {
		_ = c.Close()
	}
}
