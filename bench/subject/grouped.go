package subject

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/promgrpc/exporter/bench/bound"
	"github.com/promgrpc/exporter/bench/read"
)

// Grouped is the project with so many groups of a forwarder and a server each, over which one
// receiver spreads the series: by what spread says, as in a groups file.
func Grouped(name string, groups int, spread, version string) Kind {
	return Kind{Name: name, Project: true, Write: 1, Senders: groups, Version: version, start: func(s *System) error {
		return s.grouped(groups, spread)
	}}
}

// Routed is the project with two groups by labels, a router that answers for both, and a
// process that only passes on what their servers stream.
func Routed(name, version string) Kind {
	return Kind{Name: name, Project: true, Write: 1, Version: version, start: func(s *System) error {
		if err := s.grouped(2, "labels: [instance]"); err != nil {
			return err
		}
		a, err := addresses(4)
		if err != nil {
			return err
		}
		binary, err := os.Executable() // this one, under another argument
		if err != nil {
			return err
		}
		router, ops, web, pass := a[0], a[1], a[2], a[3]
		s.Router = s.add("router", filepath.Join(s.bin, "prometheus-grpc-client"), "http://"+ops+"/-/ready",
			"router", "--web.listen-address="+ops, "--groups.file="+filepath.Join(s.Dir, groupsFile), "--listen="+router)
		s.Pass = s.add("pass", binary, "http://"+web, bound.PassCommand, web, pass, s.RPCs[0].Address, s.RPCs[1].Address)
		s.RouterRPC, s.PassRPC = read.Server{Address: router}, read.Server{Address: pass}
		return nil
	}}
}

// groupsFile is the file of the groups, in a system's folder.
const groupsFile = "groups.yml"

func (s *System) grouped(groups int, spread string) error {
	a, err := addresses(1 + 5*groups)
	if err != nil {
		return err
	}
	web, a := a[0], a[1:]
	var forwarders []*Process
	var names []string
	file := "version: 1\nspread: {" + spread + "}\ngroups:\n"
	for i := range groups {
		group, own := fmt.Sprintf("g%d", i+1), a[5*i:]
		server, forwarder := "server of "+group, "forwarder of "+group
		s.Servers = append(s.Servers, s.server(server, own[0], own[1], own[2], nil))
		s.RPCs = append(s.RPCs, read.Server{Address: own[2]})
		forwarders = append(forwarders, s.forwarder(forwarder, own[3], own[4], own[0], nil))
		file += fmt.Sprintf("  %s: {forwarders: %q, servers: %q}\n", group, own[3], own[2])
		names = append(names, group)
	}
	file += "epochs: [{groups: [" + strings.Join(names, ", ") + "]}]\n"
	path := filepath.Join(s.Dir, groupsFile)
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		return err
	}
	receiver := s.add("receiver", filepath.Join(s.bin, "prometheus-remote-receiver"), "http://"+web+"/-/ready",
		"--web.listen-address="+web, "--groups.file="+path)
	s.Front = append([]*Process{receiver}, forwarders...)
	s.WriteURL = "http://" + web + "/api/v1/write"
	return nil
}
