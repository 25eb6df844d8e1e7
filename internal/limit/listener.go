package limit

import (
	"net"
	"sync"

	"github.com/promgrpc/exporter/internal/peer"
)

// Listener closes connections that are over a budget, each of which counts one.
// Those of a trusted proxy, which carry many clients, count for nobody's share.
type Listener struct {
	net.Listener
	Budget  *Budget
	Proxies peer.Proxies
	// Refused is told of each connection that is closed.
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
		place := l.Budget.Hold(of)
		if err := place.Resize(1); err != nil {
			l.Refused(c.RemoteAddr(), err)
			_ = c.Close()
			continue
		}
		return &countedConn{Conn: c, release: sync.OnceFunc(place.Release)}, nil
	}
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	net.Conn
	release func()
}

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer before it closes the connection.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Connections returns how many connections a listener may have open of those
// that its flag allows: a quarter of the files that this process may open, so
// that others, and the files of the logs, find room.
func Connections(flag int) int { return connections(flag, openFiles()) }

func connections(flag int, files uint64) int {
	if quarter := max(1, files/4); uint64(flag) > quarter {
		return int(quarter)
	}
	return flag
}
