package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/promgrpc/exporter/internal/discovery"
)

// servers are those that a directory such as Consul lists.
type servers struct {
	spec  string
	known chan struct{} // closed when the directory has answered

	mu        sync.Mutex
	addresses []string
}

// isDirectory reports whether an address is that of a directory, not of servers.
func isDirectory(address string) bool { return strings.Contains(address, "://") }

// watchServers asks the directory until ctx ends, with unready for the servers that
// are not ready, too.
func watchServers(ctx context.Context, spec string, unready bool, logger *slog.Logger) (*servers, error) {
	source, err := discovery.Parse(spec, discovery.Options{Logger: logger, Unready: unready})
	if err != nil {
		return nil, err
	}
	s := &servers{spec: spec, known: make(chan struct{})}
	sets := source.Watch(ctx)
	go func() {
		first := true
		for set := range sets {
			s.set(set)
			if first {
				first = false
				close(s.known)
			}
		}
	}()
	return s, nil
}

func (s *servers) set(set []discovery.Instance) {
	addresses := make([]string, 0, len(set))
	for _, instance := range set {
		addresses = append(addresses, instance.Address)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses = addresses
}

// resolve returns the servers that there are now, once the directory has answered.
func (s *servers) resolve(ctx context.Context) ([]string, error) {
	select {
	case <-s.known:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s did not answer in time", s.spec)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.addresses) == 0 {
		return nil, errors.New("no server is registered at " + s.spec)
	}
	return s.addresses, nil
}
