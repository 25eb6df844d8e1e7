// Package bound is the least that a pipeline like the project's costs: programs
// that move the same bytes and do what no implementation in Go can leave out,
// and nothing else. They check nothing, keep no limits, encode no values, and
// are of no use but to be measured beside the project, with the same sender and
// the same reader.
//
//	receiver    net/http reads a body, and TCP carries it to the forwarder
//	forwarder   digest, decompression, a hash of each series' labels, its samples;
//	            one fdatasync for a request of each connection; TCP to each server
//	server      writes what comes to a file, and answers a snapshot with bytes that
//	            are ready, over net/http, grpc-go and TCP
//
// A series that is new costs an entry in a map, the numbers of its labels once
// in the forwarder and once in each server, and there a posting for each label.
package bound

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
)

// Command is the argument by which the benchmark's program becomes one of these.
const Command = "bound"

// Names of the parts.
const (
	Receiver  = "receiver"
	Forwarder = "forwarder"
	Server    = "server"
)

// Config of a program. Addresses are host:port; what a part has no use for is
// left out.
type Config struct {
	Part    string   // one of the names
	Web     string   // HTTP: requests of the sender, and whether the part is up
	Link    string   // TCP: where the forwarder takes bodies, and a server the log
	Servers []string // links of the servers
	RPC     string   // snapshot over net/http, as gRPC
	GRPC    string   // the same over grpc-go
	TCP     string   // the same without HTTP
	Dir     string   // for the log
	Version int      // of remote write
	Sample  float64  // bytes that a sample takes up in the log
}

// Args of the benchmark's program that make it this one.
func (c Config) Args() ([]string, error) {
	text, err := json.Marshal(c)
	return []string{Command, string(text)}, err
}

// Main is the program. It ends when something fails.
func Main(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one argument, not %d", Command, len(args))
	}
	p := &part{failed: make(chan error)}
	if err := json.Unmarshal([]byte(args[0]), &p.Config); err != nil {
		return fmt.Errorf("%s: %w", Command, err)
	}
	// Garbage is collected where memory is about to run out, not before.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(2 << 30)
	web := http.NewServeMux()
	web.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	var err error
	switch p.Part {
	case Receiver:
		web.Handle("/", newReceiver(p.Link))
	case Forwarder:
		err = p.forwarder()
	case Server:
		err = p.server()
	default:
		err = fmt.Errorf("no part is named %q", p.Part)
	}
	if err != nil {
		return err
	}
	p.run(func() error { return http.ListenAndServe(p.Web, web) })
	return <-p.failed
}

// part is a program that runs.
type part struct {
	Config
	failed chan error
}

// run runs what is to end by a failure alone.
func (p *part) run(f func() error) {
	go func() {
		if err := f(); err != nil {
			p.failed <- err
		}
	}()
}

// serve has every connection to an address handled in a goroutine.
func (p *part) serve(address string, handle func(net.Conn) error) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	p.run(func() error {
		for {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			p.run(func() error {
				defer func() { _ = conn.Close() }()
				return handle(conn)
			})
		}
	})
	return nil
}

// create makes the file of the log.
func (p *part) create() (*os.File, error) {
	if err := os.MkdirAll(p.Dir, 0o777); err != nil {
		return nil, err
	}
	return os.Create(filepath.Join(p.Dir, "log"))
}
