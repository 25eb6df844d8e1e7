package bound

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"
)

// server keeps a copy of the log, and what it needs to find series.
type server struct {
	log       *os.File
	responses [][]byte // to a snapshot, each with the prefix of gRPC

	mu       sync.Mutex
	postings postings
}

func (p *part) server() error {
	log, err := p.create()
	if err != nil {
		return err
	}
	s := &server{log: log}
	if s.responses, err = responses(); err != nil {
		return err
	}
	if err := p.snapshots(s); err != nil {
		return err
	}
	return p.serve(p.Link, s.receive)
}

// receive takes the log from the forwarder.
func (s *server) receive(conn net.Conn) error {
	var frame []byte
	for {
		var err error
		if frame, err = receive(conn, frame); err != nil {
			return closed(err)
		}
		blocks := frame[lengthSize:]
		s.mu.Lock()
		for len(blocks) >= blockHeader {
			size := binary.LittleEndian.Uint32(blocks)
			if size > uint32(len(blocks)) {
				return fmt.Errorf("a block of %d bytes in %d", size, len(blocks))
			}
			s.postings.add(blocks[:size])
			blocks = blocks[size:]
		}
		s.mu.Unlock()
		if _, err := s.log.Write(frame[lengthSize:]); err != nil {
			return err
		}
		if err := answer(conn); err != nil {
			return err
		}
	}
}

// snapshot yields responses that hold all series, and some more to be whole.
func (s *server) snapshot(yield func(response []byte) error) error {
	s.mu.Lock()
	series := int(s.postings.series)
	s.mu.Unlock()
	if series == 0 {
		return nil
	}
	err := yield(s.responses[0])
	rest := s.responses[1:]
	for i, sent := 0, perFirst; err == nil && sent < series; i, sent = (i+1)%len(rest), sent+perResponse {
		err = yield(rest[i])
	}
	return err
}
