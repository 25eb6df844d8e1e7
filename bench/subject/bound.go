package subject

import (
	"context"
	"fmt"
	"os"

	"github.com/promgrpc/exporter/bench/bound"
	"github.com/promgrpc/exporter/bench/read"
)

// Bound is the least that the project's work costs, by programs which do only
// what cannot be left out: a receiver, a forwarder and two servers. They put as
// many bytes into the log as the options say.
func Bound(name string, write int, version string) Kind {
	return Kind{Name: name, Bound: true, Write: write, Version: version, start: func(s *System) error {
		return s.bound(write)
	}}
}

func (s *System) bound(write int) error {
	const servers = 2
	a, err := addresses(3 + 5*servers)
	if err != nil {
		return err
	}
	// The programs are this one, under another argument.
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	add := func(name string, c bound.Config) (*Process, error) {
		c.Dir, c.Version, c.Sample = s.data(name), write, s.logged
		args, err := c.Args()
		return s.add(name, binary, "http://"+c.Web+"/ready", args...), err
	}
	var links, rpcs []string
	for i := range servers {
		c := bound.Config{Part: bound.Server, Web: a[3+5*i], Link: a[4+5*i], RPC: a[5+5*i], GRPC: a[6+5*i], TCP: a[7+5*i]}
		server, err := add(fmt.Sprintf("server %d", i+1), c)
		if err != nil {
			return err
		}
		s.Servers = append(s.Servers, server)
		links, rpcs = append(links, c.Link), append(rpcs, c.RPC)
		if i == 0 {
			s.Ways = []Way{
				{"net/http", func(ctx context.Context) (read.Result, error) { return read.Snapshot(ctx, c.RPC) }},
				{"grpc-go", func(ctx context.Context) (read.Result, error) { return read.Snapshot(ctx, c.GRPC) }},
				{"TCP", func(ctx context.Context) (read.Result, error) { return bound.ReadTCP(ctx, c.TCP) }},
			}
		}
	}
	forwarder, err := add("forwarder", bound.Config{Part: bound.Forwarder, Web: a[0], Link: a[1], Servers: links})
	if err != nil {
		return err
	}
	receiver, err := add("receiver", bound.Config{Part: bound.Receiver, Web: a[2], Link: a[1]})
	if err != nil {
		return err
	}
	s.Front = []*Process{receiver, forwarder}
	s.WriteURL = "http://" + a[2] + "/api/v1/write"
	return s.balance(rpcs)
}
