package server

import (
	"net"
	"net/http"
	"sync"
)

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
