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
)

// Names of the processes.
const (
	Receiver  = "receiver"
	Forwarder = "forwarder"
	Server    = "server"
)

// Servers that the forwarder sends the log to. One of them is measured.
const Servers = 2

// Floor is what a step costs a process.
type Floor struct {
	Process, Step string
	CPU           time.Duration
}

// Pipeline takes requests through the steps, one after another in one thread, whose
// clock says what each costs.
type Pipeline struct {
	connections int
	request     request
	known       []series
	places      map[uint64]int    // in known, by the hash of the labels
	next        int               // in known: what comes if the sender keeps to its order
	numbers     map[uint64]uint32 // of labels, by hash
	before      [32]label         // of the new series before, by their place
	fresh       []posting         // of new series, for the server
	postings    [][]uint32        // of the server: the series of each label

	logs   [2]*os.File // of the forwarder and of the server
	socket [2]int
	piece  [64 << 10]byte

	floors []Floor
	err    error // of the first step that failed
}

// series is what has to be known of one when its next sample comes.
type series struct {
	hash  uint64
	value int64
}

type label struct {
	hash   uint64
	number uint32
}

type posting struct{ label, series uint32 }

// NewPipeline returns one to which a number of connections send a request at a time.
// Its files are in a folder, which the caller removes.
func NewPipeline(version, connections int, dir string) (*Pipeline, error) {
	p := &Pipeline{
		connections: connections, request: request{version: version},
		places: map[uint64]int{}, numbers: map[uint64]uint32{},
	}
	for i := range p.logs {
		var err error
		if p.logs[i], err = os.CreateTemp(dir, "floors-"); err != nil {
			return nil, err
		}
	}
	var err error
	// The same thread writes and reads, so what it cannot hold at once is an error.
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

// Run takes bodies through the steps, after that of the HTTP request.
func (p *Pipeline) Run(bodies [][]byte) ([]Floor, error) {
	runtime.LockOSThread() // whose clock is read
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	p.floors, p.fresh = nil, p.fresh[:0]
	var log []byte
	for group := range slices.Chunk(bodies, p.connections) {
		from := len(log)
		for _, body := range group {
			p.carry(body, Receiver, Forwarder, "body")
			p.step(Forwarder, "decompress", func() error { return p.request.decompress(body) })
			p.step(Forwarder, "scan and hash labels", p.request.scan)
			p.step(Forwarder, "look up series, encode values", func() error { log = p.encode(log); return nil })
		}
		p.step(Forwarder, "checksum, write, fdatasync", func() error {
			log = binary.LittleEndian.AppendUint32(log, crc32.Checksum(log[from:], castagnoli))
			if _, err := p.logs[0].Write(log[from:]); err != nil {
				return err
			}
			return unix.Fdatasync(int(p.logs[0].Fd()))
		})
	}
	for range Servers - 1 {
		p.carry(log, Forwarder, "another server", "log")
	}
	p.carry(log, Forwarder, Server, "log")
	p.step(Server, "write", func() error { _, err := p.logs[1].Write(log); return err })
	p.step(Server, "index new series", p.index)
	return slices.DeleteFunc(p.floors, func(f Floor) bool { return f.Process == "another server" }), p.err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot returns what it costs to send one without HTTP.
func (p *Pipeline) Snapshot(series int) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, err := ready(series)
	if err != nil {
		return 0, err
	}
	p.floors = nil
	_ = s.each(func(response []byte) error {
		p.carry(response, Server, "reader", "snapshot")
		return p.err
	})
	return p.floors[0].CPU, p.err
}

// step adds what work costs to the floor of a name.
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
	for part := range slices.Chunk(b, len(p.piece)) {
		p.step(from, "send "+what, func() error { _, err := unix.Write(p.socket[0], part); return err })
		p.step(to, "receive "+what, func() error { _, err := unix.Read(p.socket[1], p.piece[:len(part)]); return err })
	}
}

// encode appends what the log has of a request: the numbers of the labels of new
// series, and of each value the difference to the one before, without what follows
// the point.
func (p *Pipeline) encode(log []byte) []byte {
	for _, s := range p.request.series {
		if p.next >= len(p.known) || p.known[p.next].hash != s.hash {
			var ok bool
			if p.next, ok = p.places[s.hash]; !ok {
				p.next = len(p.known)
				p.places[s.hash] = p.next
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

// learn numbers the labels of the series that became known last. Most of them are
// those of the series before. Their text is left out: few are new.
func (p *Pipeline) learn(log []byte, labels span) []byte {
	for i, place := labels.from, 0; i < labels.to; place++ {
		var hash uint64
		hash, i = p.request.label(i)
		before := &p.before[place]
		if before.hash != hash {
			number, ok := p.numbers[hash]
			if !ok {
				number = uint32(len(p.numbers))
				p.numbers[hash] = number
			}
			*before = label{hash, number}
		}
		p.fresh = append(p.fresh, posting{before.number, uint32(len(p.known))})
		log = binary.AppendUvarint(log, uint64(before.number))
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

// threadCPU is what this thread has used.
func threadCPU() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // no system is without it
	return time.Duration(t.Nano())
}
