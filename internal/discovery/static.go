package discovery

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/promgrpc/exporter/internal/address"
)

// static is a list that never changes.
type static []Instance

func parseStatic(spec string) (static, error) {
	var s static
	for part := range strings.SplitSeq(spec, ",") {
		at := strings.TrimSpace(part)
		if at == "" {
			return nil, fmt.Errorf("peers %q: an address is empty, want host:port[,host:port…]", spec)
		}
		if err := address.HostPort(at); err != nil {
			return nil, fmt.Errorf("peers %q: %w", spec, err)
		}
		if slices.ContainsFunc(s, func(i Instance) bool { return i.Address == at }) {
			return nil, fmt.Errorf("peers %q: %s is there twice", spec, at)
		}
		s = append(s, Instance{ID: at, Address: at})
	}
	return s, nil
}

// Watch implements [Source].
func (s static) Watch(ctx context.Context) <-chan []Instance {
	f := newFeed()
	f.send(slices.Clone(s))
	context.AfterFunc(ctx, f.close)
	return f.ch
}
