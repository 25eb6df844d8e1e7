package subject

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Grouped is the project with so many groups of a forwarder and a server each, over which one
// receiver spreads the series: by what spread says, as in a groups file.
func Grouped(name string, groups int, spread, version string) Kind {
	return Kind{Name: name, Project: true, Write: 1, Senders: groups, Version: version, start: func(s *System) error {
		return s.grouped(groups, spread)
	}}
}

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
		forwarders = append(forwarders, s.forwarder(forwarder, own[3], own[4], own[0], nil))
		file += fmt.Sprintf("  %s: {forwarders: %q}\n", group, own[3])
		names = append(names, group)
	}
	file += "epochs: [{groups: [" + strings.Join(names, ", ") + "]}]\n"
	path := filepath.Join(s.Dir, "groups.yml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		return err
	}
	receiver := s.add("receiver", filepath.Join(s.bin, "prometheus-remote-receiver"), "http://"+web+"/-/ready",
		"--web.listen-address="+web, "--groups.file="+path)
	s.Front = append([]*Process{receiver}, forwarders...)
	s.WriteURL = "http://" + web + "/api/v1/write"
	return nil
}
