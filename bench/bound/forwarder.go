package bound

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// forwarder appends the requests of all its connections to one log.
type forwarder struct {
	*part
	log     *os.File
	servers []*shipping

	mu          sync.Mutex
	index       *index
	connections int
	group       *group // to be written next
	spare       []byte

	writing sync.Mutex
}

// group is blocks that are written and made durable together.
type group struct {
	requests int
	blocks   []byte
	done     chan struct{}
	err      error
}

func (p *part) forwarder() error {
	log, err := p.create()
	if err != nil {
		return err
	}
	f := &forwarder{part: p, log: log, index: newIndex(), group: &group{done: make(chan struct{})}}
	for _, address := range p.Servers {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		s := &shipping{conn: conn, more: make(chan struct{}, 1)}
		f.servers = append(f.servers, s)
		p.run(s.run)
	}
	return p.serve(p.Link, f.receive)
}

// receive takes the requests of one of the receiver's connections.
func (f *forwarder) receive(conn net.Conn) error {
	r := request{version: f.Version}
	var frame []byte
	f.count(1)
	defer f.count(-1)
	for {
		var err error
		if frame, err = receive(conn, frame); err != nil {
			return closed(err)
		}
		body := frame[lengthSize:]
		digest := sha256.Sum256(body)
		if err := r.decompress(body); err != nil {
			return err
		}
		if err := r.scan(); err != nil {
			return fmt.Errorf("request of %d bytes: %w", len(body), err)
		}
		if err := f.append(&r, [16]byte(digest[:16])); err != nil {
			return err
		}
		if err := answer(conn); err != nil {
			return err
		}
	}
}

func (f *forwarder) count(connections int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connections += connections
}

// gatherFor is how long a request waits for one of every other connection, as it
// does in the project.
const gatherFor = 2 * time.Millisecond

// append returns when a request is durable.
func (f *forwarder) append(r *request, digest [16]byte) error {
	f.mu.Lock()
	g := f.group
	g.blocks = f.index.block(g.blocks, r, digest, int(f.Sample*float64(len(r.samples))))
	g.requests++
	first, all := g.requests == 1, g.requests >= f.connections
	f.mu.Unlock()
	switch {
	case all:
		f.write(g)
	case first:
		timer := time.AfterFunc(gatherFor, func() { f.write(g) })
		defer timer.Stop()
	}
	<-g.done
	return g.err
}

// write makes a group durable, unless that is being done already.
func (f *forwarder) write(g *group) {
	f.mu.Lock()
	if f.group != g {
		f.mu.Unlock()
		return
	}
	f.group = &group{blocks: f.spare[:0], done: make(chan struct{})}
	f.spare = nil
	f.writing.Lock() // before the next group can
	f.mu.Unlock()
	_, g.err = f.log.Write(g.blocks)
	if g.err == nil {
		g.err = unix.Fdatasync(int(f.log.Fd()))
	}
	for _, s := range f.servers {
		s.add(g.blocks)
	}
	f.writing.Unlock()
	close(g.done)
	f.mu.Lock()
	f.spare = g.blocks
	f.mu.Unlock()
}

// shipping is the log's way to a server.
type shipping struct {
	conn  net.Conn
	mu    sync.Mutex
	frame []byte
	more  chan struct{}
}

// pace is how long what is in the log waits for more, as it does in the project.
const pace = 10 * time.Millisecond

func (s *shipping) add(blocks []byte) {
	s.mu.Lock()
	if len(s.frame) == 0 {
		s.frame = append(s.frame, make([]byte, lengthSize)...)
	}
	s.frame = append(s.frame, blocks...)
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *shipping) run() error {
	var frame []byte
	for range s.more {
		time.Sleep(pace)
		s.mu.Lock()
		frame, s.frame = s.frame, frame[:0]
		s.mu.Unlock()
		if len(frame) == 0 {
			continue // it went with what was before
		}
		if err := exchange(s.conn, frame); err != nil {
			return err
		}
	}
	return nil
}
