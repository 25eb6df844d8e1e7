package discovery

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// static is a list that never changes.
type static []Instance

func parseStatic(spec string) (static, error) {
	var s static
	for part := range strings.SplitSeq(spec, ",") {
		address := strings.TrimSpace(part)
		if address == "" {
			return nil, fmt.Errorf("peers %q: an address is empty, want host:port[,host:port…]", spec)
		}
		if err := checkAddress(address); err != nil {
			return nil, fmt.Errorf("peers %q: %w", spec, err)
		}
		if slices.ContainsFunc(s, func(i Instance) bool { return i.Address == address }) {
			return nil, fmt.Errorf("peers %q: %s is there twice", spec, address)
		}
		s = append(s, Instance{ID: address, Address: address})
	}
	return s, nil
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: want host:port: %w", address, err)
	}
	if host == "" {
		return fmt.Errorf("%s: the host is empty", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%s: the port is not a number from 1 to 65535", address)
	}
	return nil
}

// Watch implements [Source].
func (s static) Watch(ctx context.Context) <-chan []Instance {
	f := newFeed()
	f.send(slices.Clone(s))
	context.AfterFunc(ctx, f.close)
	return f.ch
}
