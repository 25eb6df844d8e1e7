package limit

import (
	"net"
	"sync"

	"github.com/promgrpc/exporter/internal/peer"
)

// Listener closes connections that are over a budget, of which each connection holds
// one. Those of a trusted proxy, which carry many clients, are in nobody's share.
type Listener struct {
	net.Listener
	Budget  *Budget
	Proxies peer.Proxies
	// Refused is called for each connection that is closed.
	Refused func(remote net.Addr, err error)
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		remote := c.RemoteAddr().String()
		of := peer.At(remote)
		if l.Proxies.Trusted(remote) {
			of = remote // with its port: a peer of its own
		}
		hold := l.Budget.Hold(of)
		if err := hold.Resize(1); err != nil {
			l.Refused(c.RemoteAddr(), err)
			_ = c.Close()
			continue
		}
		return &countedConn{Conn: c, release: sync.OnceFunc(hold.Release)}, nil
	}
}

// countedConn releases its hold when it is closed.
type countedConn struct {
	net.Conn
	release func()
}

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// NetConn returns the connection beneath.
func (c *countedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets net/http end a response before it closes the connection.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Connections returns how many connections a listener may have open: as many as its
// flag allows, but at most a quarter of the files that this process may open, so that
// enough are left for other listeners and for logs.
func Connections(flag int) int { return connections(flag, openFiles()) }

func connections(flag int, files uint64) int {
	if quarter := max(1, files/4); uint64(flag) > quarter {
		return int(quarter)
	}
	return flag
}
