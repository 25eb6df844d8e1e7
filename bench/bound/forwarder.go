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

	mu       sync.Mutex
	index    *index
	underway int    // requests that have come and are not being written yet
	waiting  int    // of these, those whose blocks are in the group
	group    *group // to be written next
	spare    []byte

	writing sync.Mutex
}

// group is blocks that are written and made durable together.
type group struct {
	blocks []byte
	done   chan struct{}
	err    error
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
	for {
		var err error
		if frame, err = receive(conn, frame); err != nil {
			return closed(err)
		}
		f.mu.Lock()
		f.underway++
		f.mu.Unlock()
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

// append returns when a request is durable. The last of those that are under
// way writes for all of them.
func (f *forwarder) append(r *request, digest [16]byte) error {
	f.mu.Lock()
	g := f.group
	g.blocks = f.index.block(g.blocks, r, digest, int(f.Sample*float64(len(r.samples))))
	f.waiting++
	if f.waiting < f.underway {
		f.mu.Unlock()
		<-g.done
		return g.err
	}
	f.group = &group{blocks: f.spare[:0], done: make(chan struct{})}
	f.spare = nil
	f.underway, f.waiting = 0, 0
	f.writing.Lock()
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
	return g.err
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
