package subject

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/promgrpc/exporter/bench/read"
)

// Kind is a system that is installed and can be started.
type Kind struct {
	Name string
	// Project says that it is the project rather than a peer.
	Project bool
	// Write is the version of remote write to send it.
	Write int
	// Senders is at how many addresses the senders are, one if it is 0.
	Senders int
	Version string
	// Quiet is how long its processes must do nothing to count as idle: longer than
	// they batch.
	Quiet time.Duration
	start func(s *System) error
}

// Way is a way of reading from a system.
type Way struct {
	Name string
	Read func(context.Context) (read.Result, error)
	// Numbers says that it has only series whose sample is a number: neither a native
	// histogram nor NaN.
	Numbers bool
}

// System is a running system.
type System struct {
	Processes []*Process
	WriteURL  string
	// TLS to send samples and to read them with. Nil: none.
	TLS *tls.Config
	// Front holds the processes in front of the stores, if there are any.
	Front []*Process
	Ways  []Way
	// StoreAPI is where Thanos' queriers read, the address empty if nowhere.
	StoreAPI read.Server
	// RPC is the project's first server, and Balancer the address of HAProxy, if it runs.
	// HAProxy is not one of Processes.
	RPC read.Server
	// API is where Prometheus' HTTP API is, "" if there is none.
	API      string
	Balancer string
	Servers  []*Process
	// RPCs are the APIs of Servers, where they are in groups.
	RPCs []read.Server
	// Router answers for all groups at RouterRPC, and Pass passes on what their servers
	// stream, at PassRPC.
	Router, Pass       *Process
	RouterRPC, PassRPC read.Server
	balancer           *Process
	// Late is a server that Start leaves to others, and Stop ends; LateRPC is its API.
	Late    *Process
	LateRPC read.Server

	Dir   string // of everything, removed by Stop
	tools string
	bin   string
	quiet time.Duration
}

// Options say where things are.
type Options struct {
	Bin   string // the project's binaries
	Tools string // the peers'
	Dir   string // for data, which is removed when a system stops
}

// attempts to start a system, since another program may get a port before it.
const attempts = 3

// Start starts a system and waits until it is ready.
func (k Kind) Start(ctx context.Context, o Options) (s *System, err error) {
	for range attempts {
		if s, err = k.tryStart(ctx, o); err == nil || ctx.Err() != nil {
			break
		}
	}
	return s, err
}

func (k Kind) tryStart(ctx context.Context, o Options) (*System, error) {
	dir, err := os.MkdirTemp(o.Dir, "bench-")
	if err != nil {
		return nil, err
	}
	s := &System{Dir: dir, tools: o.Tools, bin: o.Bin, quiet: max(k.Quiet, time.Second)}
	if err := k.start(s); err != nil {
		s.Stop()
		return nil, err
	}
	for _, p := range s.all() {
		if err := p.Start(ctx); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

func (s *System) all() []*Process {
	if s.balancer == nil {
		return s.Processes
	}
	return append(s.Processes[:len(s.Processes):len(s.Processes)], s.balancer)
}

// Stop ends the processes and removes their data.
func (s *System) Stop() {
	for _, p := range s.all() {
		p.Stop()
	}
	if s.Late != nil {
		s.Late.Stop()
	}
	_ = os.RemoveAll(s.Dir)
}

// add adds a process, which Start starts.
func (s *System) add(name, binary, ready string, args ...string) *Process {
	p := &Process{
		Name: name, binary: binary, args: args, ready: ready,
		Dir: filepath.Join(s.Dir, name), log: filepath.Join(s.Dir, name+".log"),
	}
	s.Processes = append(s.Processes, p)
	return p
}

// data returns the folder for a process's data.
func (s *System) data(name string) string { return filepath.Join(s.Dir, name) }

// Usage is the CPU time of each process, in their order.
type Usage []time.Duration

// Usage so far.
func (s *System) Usage() (Usage, error) {
	u := make(Usage, len(s.Processes))
	var errs []error
	for i, p := range s.Processes {
		var err error
		u[i], err = p.CPU()
		errs = append(errs, err)
	}
	return u, errors.Join(errs...)
}

// Total of all processes.
func (u Usage) Total() (sum time.Duration) {
	for _, d := range u {
		sum += d
	}
	return sum
}

// Of is the sum of some of the processes.
func (s *System) Of(u Usage, processes ...*Process) (sum time.Duration) {
	for i, p := range s.Processes {
		if slices.Contains(processes, p) {
			sum += u[i]
		}
	}
	return sum
}

// Minus returns what was used since.
func (u Usage) Minus(before Usage) Usage {
	d := make(Usage, len(u))
	for i := range u {
		d[i] = u[i] - before[i]
	}
	return d
}

// Idle waits until the processes have next to nothing to do, and returns their usage.
func (s *System) Idle(ctx context.Context) (Usage, error) {
	const step, share = 250 * time.Millisecond, 0.04
	last, err := s.Usage()
	calm := time.Duration(0)
	for deadline := time.Now().Add(patience); err == nil && calm < s.quiet; {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("not idle after %s", patience)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(step):
		}
		before := last
		last, err = s.Usage()
		if calm += step; err == nil && float64(last.Minus(before).Total()) > share*float64(step)*float64(len(s.Processes)) {
			calm = 0
		}
	}
	return last, err
}
