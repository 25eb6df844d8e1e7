package subject

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/promgrpc/exporter/bench/read"
)

// Project is the project with a number of servers, and a version of remote write to
// send it.
func Project(name string, servers, write int, version string) Kind {
	return Kind{Name: name, Project: true, Write: write, Version: version, start: func(s *System) error {
		return s.project(servers, parts{})
	}}
}

// Acknowledged is the project with two servers, of which one has to have forced a request to
// its disk before that is answered.
func Acknowledged(name, version string) Kind {
	return Kind{Name: name, Project: true, Write: 1, Version: version, start: func(s *System) error {
		return s.project(2, parts{forwarder: []string{"--ack.servers=1"}})
	}}
}

// Windowless is the project with one server, whose queries read all samples from the disk.
func Windowless(name, version string) Kind {
	return Kind{Name: name, Project: true, Write: 1, Version: version, start: func(s *System) error {
		return s.project(1, parts{server: []string{"--query.window=0"}})
	}}
}

// Secured is the project with two servers where callers and parts prove who they are:
// TLS for senders and readers, mutual TLS with roles between the parts.
func Secured(name, version string) Kind {
	return Kind{Name: name, Project: true, Write: 1, Version: version, start: func(s *System) error {
		flags, err := s.certify()
		if err != nil {
			return err
		}
		return s.project(2, flags)
	}}
}

func (s *System) project(servers int, more parts) error {
	a, err := addresses(3 + 3*servers)
	if err != nil {
		return err
	}
	web, link, ops := a[0], a[1], a[2]
	var links, rpcs []string
	for i := range servers {
		name := fmt.Sprintf("server %d", i+1)
		link, ops, rpc := a[3+3*i], a[4+3*i], a[5+3*i]
		links, rpcs = append(links, link), append(rpcs, rpc)
		s.Servers = append(s.Servers, s.server(name, link, ops, rpc, more.server))
	}
	forwarder := s.forwarder("forwarder", link, ops, strings.Join(links, ","), more.forwarder)
	scheme := "http://"
	if s.TLS != nil {
		scheme = "https://"
	}
	receiver := s.add("receiver", filepath.Join(s.bin, "prometheus-remote-receiver"), scheme+web+"/-/ready", append([]string{
		"--web.listen-address=" + web, "--forwarder=" + link,
	}, more.receiver...)...)
	receiver.tls = s.TLS
	s.Front = []*Process{receiver, forwarder}
	s.WriteURL = scheme + web + "/api/v1/write"
	s.API = scheme + rpcs[0]
	s.RPC = read.Server{Address: rpcs[0], TLS: s.TLS}
	s.StoreAPI = s.RPC
	s.Ways = []Way{{Name: "GetMetrics", Read: func(ctx context.Context) (read.Result, error) { return read.Snapshot(ctx, s.RPC) }}}
	if s.TLS != nil {
		return nil // HAProxy's own TLS would be measured.
	}
	return s.balance(rpcs)
}

// server adds a server by its addresses.
func (s *System) server(name, link, ops, rpc string, more []string) *Process {
	return s.add(name, filepath.Join(s.bin, "prometheus-api-server"), "http://"+ops+"/-/healthy", append([]string{
		"--link.listen-address=" + link, "--web.listen-address=" + ops, "--rpc.listen-address=" + rpc,
		"--instance=" + name, "--storage.path=" + s.data(name),
	}, more...)...)
}

// forwarder adds a forwarder by its addresses, and the links of the servers that it feeds.
func (s *System) forwarder(name, link, ops, servers string, more []string) *Process {
	return s.add(name, filepath.Join(s.bin, "metrics-forwarder"), "http://"+ops+"/-/ready", append([]string{
		"--link.listen-address=" + link, "--web.listen-address=" + ops, "--server=" + servers, "--storage.path=" + s.data(name),
	}, more...)...)
}

// balance adds an HAProxy in front of the servers, if it is installed, with buffers
// for streams.
func (s *System) balance(servers []string) error {
	binary := filepath.Join(s.tools, "haproxy")
	if _, err := os.Stat(binary); err != nil {
		return nil //nolint:nilerr // it is not installed, and not needed
	}
	a, err := addresses(2)
	if err != nil {
		return err
	}
	config := `global
  maxconn 1000
  tune.bufsize 65536
  tune.h2.max-frame-size 65536
  tune.h2.initial-window-size 1048576
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend ready
  bind ` + a[1] + `
  monitor-uri /ready
frontend rpc
  bind ` + a[0] + ` proto h2
  default_backend servers
backend servers
`
	for i, server := range servers {
		config += fmt.Sprintf("  server server%d %s proto h2\n", i+1, server)
	}
	file := filepath.Join(s.Dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	s.balancer = &Process{
		Name: "haproxy", binary: binary, args: []string{"-f", file, "-db"},
		ready: "http://" + a[1] + "/ready", log: filepath.Join(s.Dir, "haproxy.log"),
	}
	s.Balancer = a[0]
	return nil
}
