package subject

import (
	"context"
	"os"
	"strconv"

	"github.com/promgrpc/exporter/bench/bound"
	"github.com/promgrpc/exporter/bench/read"
)

// Bound is the process for the floors that need one, see the package bound.
func Bound(name, profile string, write, series int) Kind {
	return Kind{Name: name, Write: write, start: func(s *System) error { return s.bound(profile, series) }}
}

func (s *System) bound(profile string, series int) error {
	a, err := addresses(2)
	if err != nil {
		return err
	}
	binary, err := os.Executable() // this one, under another argument
	if err != nil {
		return err
	}
	s.add("bound", binary, "http://"+a[0], bound.Command, a[0], a[1], profile, strconv.Itoa(series))
	s.WriteURL = "http://" + a[0]
	s.Ways = []Way{
		{Name: "net/http", Read: func(ctx context.Context) (read.Result, error) { return read.Snapshot(ctx, read.Server{Address: a[0]}) }},
		{Name: "grpc-go", Read: func(ctx context.Context) (read.Result, error) { return read.Snapshot(ctx, read.Server{Address: a[1]}) }},
	}
	return s.balance(a[:1])
}
