package metricstest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Cutter is a proxy that passes on connections, of which it cuts the first after a
// number of bytes from the server.
type Cutter struct {
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	open   []net.Conn
	passed int64 // over the first connection
}

// Cut starts a Cutter in front of address, and returns its own. It ends with the test.
func Cut(t testing.TB, address string, after int64) (*Cutter, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cutter{listener: l}
	c.done.Go(func() { c.accept(address, after) })
	t.Cleanup(c.Stop)
	return c, l.Addr().String()
}

func (c *Cutter) accept(address string, after int64) {
	for first := true; ; first = false {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", address)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.mu.Lock()
		c.open = append(c.open, client, server)
		c.mu.Unlock()
		c.done.Go(func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		})
		c.done.Go(func() {
			if first {
				n, _ := io.CopyN(client, server, after)
				c.mu.Lock()
				c.passed = n
				c.mu.Unlock()
			} else {
				_, _ = io.Copy(client, server)
			}
			_ = client.Close()
			_ = server.Close()
		})
	}
}

// Passed returns how many bytes the first connection had from the server, after Stop.
func (c *Cutter) Passed() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed
}

// Stop closes the listener and every connection. It may be called twice.
func (c *Cutter) Stop() {
	_ = c.listener.Close()
	c.mu.Lock()
	open := c.open
	c.mu.Unlock()
	for _, conn := range open {
		_ = conn.Close()
	}
	c.done.Wait()
}
