package bound

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/promgrpc/exporter/bench/load"
)

// Names of the processes.
const (
	Receiver  = "receiver"
	Forwarder = "forwarder"
	Server    = "server 1"
)

// Servers is how many servers the forwarder sends the log to. One is measured.
const Servers = 2

// Floor is what a step costs a process.
type Floor struct {
	Process, Step string
	CPU           time.Duration
}

// Pipeline runs requests through the steps, one after another in one thread, and
// reads that thread's CPU clock around each.
type Pipeline struct {
	connections int
	request     request
	known       []series
	ordinals    map[uint64]int    // index in known, by the hash of the labels
	next        int               // ordinal expected next: senders keep their order
	numbers     map[uint64]uint32 // of labels, by hash
	previous    [32]label         // of the new series before this one
	fresh       []posting         // of a request's new series, for the server
	postings    [][]uint32        // of the server, by label number

	logs   [2]*os.File // of the forwarder and of the server
	socket [2]int
	buffer [64 << 10]byte

	floors []Floor
	err    error // of the first step that failed
}

// series is what the next sample of one needs.
type series struct {
	hash  uint64
	value int64
}

type label struct {
	hash   uint64
	number uint32
}

type posting struct{ label, series uint32 }

// NewPipeline returns one whose senders have a number of connections, each with one
// request in flight. Its files are in dir, which the caller removes.
func NewPipeline(version, connections int, dir string) (*Pipeline, error) {
	p := &Pipeline{
		connections: connections, request: request{version: version},
		ordinals: map[uint64]int{}, numbers: map[uint64]uint32{},
	}
	for i := range p.logs {
		var err error
		if p.logs[i], err = os.CreateTemp(dir, "floors-"); err != nil {
			return nil, err
		}
	}
	var err error
	// One thread writes and then reads, so a full socket is an error.
	p.socket, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	return p, err
}

// Close closes the files and the socket.
func (p *Pipeline) Close() {
	for i, log := range p.logs {
		_ = log.Close()
		_ = unix.Close(p.socket[i])
	}
}

// Run runs bodies through all steps but the HTTP request.
func (p *Pipeline) Run(bodies [][]byte) ([]Floor, error) {
	runtime.LockOSThread() // whose clock is read
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	p.floors = nil
	var log []byte
	for group := range slices.Chunk(bodies, p.connections) {
		from := len(log)
		for _, body := range group {
			p.carry(body, Receiver, Forwarder, "body")
			p.step(Forwarder, "decompress", func() error { return p.request.decompress(body) })
			p.step(Forwarder, "scan and hash labels", p.request.scan)
			p.step(Forwarder, "look up series, encode values", func() error { log = p.encode(log); return nil })
			p.step(Server, "index new series", p.index)
		}
		p.step(Forwarder, "checksum, write, fdatasync", func() error {
			log = binary.LittleEndian.AppendUint32(log, crc32.Checksum(log[from:], castagnoli))
			if _, err := p.logs[0].Write(log[from:]); err != nil {
				return err
			}
			return unix.Fdatasync(int(p.logs[0].Fd()))
		})
		if len(log) > len(p.buffer) {
			p.ship(log)
			log = log[:0]
		}
	}
	p.ship(log)
	return slices.DeleteFunc(p.floors, func(f Floor) bool { return f.Process == another }), p.err
}

// another is a server that is not measured.
const another = "another server"

// ship sends the log to the servers.
func (p *Pipeline) ship(log []byte) {
	for range Servers - 1 {
		p.carry(log, Forwarder, another, "log")
	}
	p.carry(log, Forwarder, Server, "log")
	p.step(Server, "write", func() error { _, err := p.logs[1].Write(log); return err })
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot returns what sending one costs without HTTP.
func (p *Pipeline) Snapshot(profile *load.Profile, series int) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, err := ready(profile, series)
	if err != nil {
		return 0, err
	}
	p.floors = []Floor{{Process: Server, Step: "send snapshot"}}
	_ = s.each(func(response []byte) error {
		p.carry(response, Server, "reader", "snapshot")
		return p.err
	})
	return p.floors[0].CPU, p.err
}

// step adds the cost of work to a floor.
func (p *Pipeline) step(process, name string, work func() error) {
	if p.err != nil {
		return
	}
	i := slices.IndexFunc(p.floors, func(f Floor) bool { return f.Process == process && f.Step == name })
	if i < 0 {
		i = len(p.floors)
		p.floors = append(p.floors, Floor{Process: process, Step: name})
	}
	began := threadCPU()
	p.err = work()
	p.floors[i].CPU += threadCPU() - began
}

// carry sends bytes from one process to another.
func (p *Pipeline) carry(b []byte, from, to, what string) {
	for part := range slices.Chunk(b, len(p.buffer)) {
		p.step(from, "send "+what, func() error { _, err := unix.Write(p.socket[0], part); return err })
		p.step(to, "receive "+what, func() error { _, err := unix.Read(p.socket[1], p.buffer[:len(part)]); return err })
	}
}

// encode appends a request to the log: the label numbers of new series, and the
// difference of each value, truncated to an integer, from the one before.
func (p *Pipeline) encode(log []byte) []byte {
	p.fresh = p.fresh[:0]
	for _, s := range p.request.series {
		if p.next >= len(p.known) || p.known[p.next].hash != s.hash {
			var ok bool
			if p.next, ok = p.ordinals[s.hash]; !ok {
				p.next = len(p.known)
				p.ordinals[s.hash] = p.next
				p.known = append(p.known, series{hash: s.hash})
				log = p.learn(log, s.labels)
			}
		}
		known := &p.known[p.next]
		log = binary.AppendVarint(log, int64(s.value)-known.value)
		known.value = int64(s.value)
		p.next++
	}
	return log
}

// learn appends the label numbers of the newest series. Most labels are those of the
// series before it, and need no lookup. Their text is left out: few are new.
func (p *Pipeline) learn(log []byte, labels span) []byte {
	for i, column := labels.from, 0; i < labels.to; column++ {
		var hash uint64
		hash, i = p.request.label(i)
		previous := &p.previous[column]
		if previous.hash != hash {
			number, ok := p.numbers[hash]
			if !ok {
				number = uint32(len(p.numbers))
				p.numbers[hash] = number
			}
			*previous = label{hash, number}
		}
		p.fresh = append(p.fresh, posting{previous.number, uint32(len(p.known))})
		log = binary.AppendUvarint(log, uint64(previous.number))
	}
	return log
}

// index adds new series to the postings of their labels.
func (p *Pipeline) index() error {
	for _, f := range p.fresh {
		if int(f.label) == len(p.postings) {
			p.postings = append(p.postings, nil)
		}
		p.postings[f.label] = append(p.postings[f.label], f.series)
	}
	return nil
}

// threadCPU is the CPU time that this thread has used.
func threadCPU() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // no system is without it
	return time.Duration(t.Nano())
}
