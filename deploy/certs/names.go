package main

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// names of certificates, by the part that each is of.
type names map[string][]string

// partNames are those that the deployments here give to the parts. The URI is what
// parts know each other by; hosts matter to those who go by them, such as clients.
func partNames() names {
	all := names{
		"receiver":   service("prometheus-remote-receiver"),
		"forwarder":  append(service("metrics-forwarder"), "metrics-forwarder-1", "metrics-forwarder-2", "forwarder-1", "forwarder-2"),
		"server":     append(service("prometheus-api-server-headless"), "prometheus-api-server", "prometheus-api-server-1", "prometheus-api-server-2", "server-1", "server-2"),
		bundled:      append(service("prometheus-grpc"), "haproxy"),
		"relay":      service("prometheus-grpc-relay"),
		"prometheus": service("prometheus"),
		"consul":     {"consul", "server.dc1.consul"},
	}
	for part, hosts := range all {
		all[part] = slices.Concat([]string{"spiffe://promgrpc/" + part}, hosts, []string{"localhost", "127.0.0.1", "::1"})
	}
	return all
}

// service returns the names of a service, of compose or of Kubernetes, and of its pods.
func service(name string) []string {
	const zone = ".promgrpc.svc"
	return []string{name, name + zone, name + zone + ".cluster.local", "*." + name + zone + ".cluster.local"}
}

// parts returns the names of the files.
func (n names) parts() []string { return slices.Sorted(maps.Keys(n)) }

func (n names) add(others names) {
	for part, added := range others {
		n[part] = append(n[part], added...)
	}
}

// Set implements [kingpin.Value].
func (n names) Set(s string) error {
	part, name, ok := strings.Cut(s, "=")
	if !ok || part == "" || part == ca || strings.ContainsAny(part, `/\`) || name == "" {
		return errors.New("want PART=NAME, such as server=metrics.example.org")
	}
	n.add(names{part: {name}})
	return nil
}

func (n names) String() string { return "" }

// IsCumulative has the flag be repeatable.
func (n names) IsCumulative() bool { return true }
