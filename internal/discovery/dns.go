package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/promgrpc/exporter/internal/address"
)

const (
	// dnsPeriod between two lookups: the resolver does not say how long an
	// answer holds.
	dnsPeriod = 5 * time.Second
	// dnsHurry is the period while no instance is known.
	dnsHurry = time.Second
)

// srv asks DNS for the SRV records of a name. All of them count, whatever their
// priority and weight. Their targets are resolved at each dial.
type srv struct {
	name string
	o    Options
}

func parseDNS(name string, o Options) (*srv, error) {
	if _, err := address.Host(name); err != nil || strings.Contains(name, ":") {
		return nil, fmt.Errorf("%q is not a domain name, want dns+srv://NAME", name)
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	o.Logger = o.Logger.With("srv", name)
	return &srv{name, o}, nil
}

// Watch implements [Source].
func (s *srv) Watch(ctx context.Context) <-chan []Instance {
	f := newFeed()
	go directory{lookup: s.ask, pause: dnsPeriod, hurry: dnsHurry, logger: s.o.Logger}.watch(ctx, f)
	return f.ch
}

func (s *srv) ask(ctx context.Context, _ time.Duration) ([]Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, records, err := s.o.Resolver.LookupSRV(ctx, "", "", s.name)
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return nil, nil // No instance, and no failure: the server said so.
	case err != nil && len(records) == 0:
		return nil, err
	}
	set := make([]Instance, 0, len(records))
	for _, r := range records {
		at := net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
		if err := address.HostPort(at); err != nil {
			s.o.Logger.Warn("instance cannot be used", "err", err)
			continue
		}
		set = append(set, Instance{ID: at, Address: at})
	}
	return set, nil
}
