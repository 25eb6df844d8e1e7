package torture

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// proxy passes TCP connections on, as well or badly as it is told.
type proxy struct {
	name     string
	listener net.Listener
	target   string

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	refuse  bool
	delay   time.Duration // before each chunk
	budget  int           // bytes until all connections are cut; 0: none
	held    chan struct{} // closed when bytes may pass; nil: they may
	closing bool
	done    sync.WaitGroup
}

// newProxy begins to listen; setTarget says where to.
func newProxy(t testing.TB, name string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", harness.Host()+":0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{name: name, listener: l, conns: map[net.Conn]struct{}{}}
	p.done.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) setTarget(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = address
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(c) })
	}
}

func (p *proxy) serve(c net.Conn) {
	p.mu.Lock()
	target, refuse := p.target, p.refuse || p.closing || p.target == ""
	p.mu.Unlock()
	if refuse {
		_ = c.Close()
		return
	}
	up, err := net.DialTimeout("tcp", target, 2*time.Second)
	if err != nil {
		_ = c.Close()
		return
	}
	if !p.enter(c, up) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(up, c) })
	both.Go(func() { p.pass(c, up) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	delete(p.conns, up)
}

func (p *proxy) enter(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closing {
			_ = c.Close()
		} else {
			p.conns[c] = struct{}{}
		}
	}
	return !p.closing
}

// pass copies until either side ends, and then ends both.
func (p *proxy) pass(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.forward(to, buf[:n]) || err != nil {
			return
		}
	}
}

func (p *proxy) forward(to io.Writer, data []byte) bool {
	p.mu.Lock()
	held, delay := p.held, p.delay
	p.mu.Unlock()
	if held != nil {
		<-held
	}
	time.Sleep(delay)
	cut := false
	p.mu.Lock()
	if p.budget > 0 {
		if cut = len(data) >= p.budget; cut {
			data = data[:p.budget]
			p.budget = 0
		} else {
			p.budget -= len(data)
		}
	}
	p.mu.Unlock()
	_, err := to.Write(data)
	if cut {
		p.cut()
	}
	return err == nil && !cut
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

func (p *proxy) cutLocked() {
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, with what is under way lost
		}
		_ = c.Close()
	}
}

// cutAfter ends all connections once so many more bytes have passed, in
// whichever direction: most probably within a message.
func (p *proxy) cutAfter(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budget = bytes
}

// partition cuts all connections, and refuses new ones.
func (p *proxy) partition() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
	p.cutLocked()
}

// slow delays every chunk.
func (p *proxy) slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// hold takes bytes and lets none pass, on old connections and new ones.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

// heal makes a good proxy of it again. What was held passes on late.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse, p.delay, p.budget = false, 0, 0
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closing = true
	p.cutLocked()
	p.mu.Unlock()
	p.heal()
	p.done.Wait()
}
