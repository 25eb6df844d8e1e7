package daemon

import (
	"net"
	"net/http"
	"sync"
)

// UnusedConns are the connections that have not carried a request. Browsers
// open some ahead, and a shutdown would wait seconds for what they might send.
type UnusedConns struct {
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	draining bool
}

// Track is for [http.Server.ConnState].
func (u *UnusedConns) Track(c net.Conn, state http.ConnState) {
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

// Close closes them, and those that come.
func (u *UnusedConns) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.draining = true
	for c := range u.conns {
		_ = c.Close()
	}
}
