package torture

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// subscribed is what the subscriber evaluates: of floats and of histograms, over what is
// new and over a range, and series that come and go.
const subscribed = `count by (lane) ({job="torture"})` +
	` or count by (lane, series) (torture_1 > 0)` +
	` or label_replace(sum by (lane) (rate(torture_2[10s])), "what", "rate", "", "")` +
	` or label_replace(max by (lane) (timestamp(torture_3)), "what", "time", "", "")`

const (
	subscribedStep  = time.Second
	subscribedDelay = 2 * time.Second
)

// subscriber is a client of the Go package that keeps what an expression came to at each
// step, together with the cursor. It has each step once, whatever happens to it.
type subscriber struct {
	reading
	addresses []string
	protocol  promgrpc.Protocol
	query     promgrpc.Query

	mu    sync.Mutex
	kept  steps
	first int64 // the time of the first step that was evaluated, in ms
	last  int64 // and of the last
}

// steps are results, a line a series, by the time of the step in ms.
type steps map[int64][]string

func newSubscriber(t testing.TB, protocol string, addresses []string) *subscriber {
	delay := subscribedDelay
	s := &subscriber{
		addresses: addresses, protocol: promgrpc.Protocol(protocol), kept: steps{},
		query: promgrpc.Query{
			Expression: subscribed, Since: new(time.Now().Truncate(subscribedStep)), Step: subscribedStep, Delay: &delay,
			Follow: true, HeartbeatInterval: heartbeat,
		},
	}
	s.reading = reading{t: t, name: "subscriber", read: s.subscribe}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *subscriber) subscribe(ctx context.Context) error {
	client, err := promgrpc.New(s.addresses, promgrpc.Options{Protocol: s.protocol, MaxBackoff: time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	query := s.query
	if query.Cursor != "" {
		query.Since = nil
	}
	for next, err := range client.Query(ctx, query) {
		if err != nil {
			return err
		}
		s.take(next)
	}
	return errors.New("a following stream came to its end")
}

// take keeps whole steps and their cursor.
func (s *subscriber) take(next promgrpc.Steps) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next.GetCursor() == "" {
		return
	}
	s.query.Cursor = next.GetCursor()
	evaluated := next.GetEvaluated().AsTime().UnixMilli()
	if s.first == 0 {
		s.first = evaluated
	}
	for at, lines := range stepsOf(next.GetTimeseries()) {
		if at <= s.last || at > evaluated {
			s.t.Errorf("%s: step %d came after step %d, with a cursor of step %d", s.name, at, s.last, evaluated)
		}
		s.kept[at] = append(s.kept[at], lines...)
	}
	if evaluated < s.last {
		s.t.Errorf("%s: the cursor of step %d came after that of step %d", s.name, evaluated, s.last)
	}
	s.last = evaluated
}

// stepsOf returns results by their step, bit by bit.
func stepsOf(list []*metricsv1.TimeSeries) steps {
	all := steps{}
	for _, series := range list {
		for _, sample := range series.GetSamples() {
			at := sample.GetTimestamp()
			all[at] = append(all[at], fmt.Sprintf("%v %016x", series.GetLabels(), math.Float64bits(sample.GetValue())))
		}
		for _, h := range series.GetHistograms() {
			all[h.GetTimestamp()] = append(all[h.GetTimestamp()], fmt.Sprintf("%v %v", series.GetLabels(), h))
		}
	}
	return all
}

// replay returns what a server evaluates of the same query, up to the last step that the
// subscriber has.
func (s *subscriber) replay(address string) (steps, error) {
	client, err := promgrpc.New([]string{address}, promgrpc.Options{Protocol: s.protocol})
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	query := s.query
	query.Follow, query.HeartbeatInterval, query.Cursor, query.End = false, 0, "", new(time.UnixMilli(s.last))
	all := steps{}
	for next, err := range client.Query(ctx, query) {
		if err != nil {
			return nil, err
		}
		for at, lines := range stepsOf(next.GetTimeseries()) {
			all[at] = append(all[at], lines...)
		}
	}
	return all, nil
}

// results counts the steps that had some.
func (s *subscriber) results() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept)
}

// evaluated is the time of the last step, in ms.
func (s *subscriber) evaluated() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// verify compares what came, step by step, with what each server evaluates in the end.
func (s *subscriber) verify(servers []string) {
	s.stop()
	if len(s.kept) == 0 {
		s.t.Errorf("%s: no step had a result; the first was %d, the last %d", s.name, s.first, s.last)
	}
	s.t.Logf("%s: %d steps with results, from %d to %d", s.name, len(s.kept), s.first, s.last)
	for _, address := range servers {
		want, err := s.replay(address)
		if err != nil {
			s.t.Errorf("%s: replay at %s: %v", s.name, address, err)
			continue
		}
		differ := 0
		for _, at := range slices.Sorted(maps.Keys(union(want, s.kept))) {
			if slices.Equal(want[at], s.kept[at]) {
				continue
			}
			if differ++; differ <= 3 {
				s.t.Errorf("%s: step %d of %d to %d had\n%q\nwhich comes at %s to\n%q", s.name, at, s.first, s.last,
					without(s.kept[at], want[at]), address, without(want[at], s.kept[at]))
			}
		}
		if differ > 0 {
			s.t.Errorf("%s: %d of %d steps differ from those of %s", s.name, differ, len(want), address)
		}
	}
}

// without returns the lines that others does not have.
func without(lines, others []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return slices.Contains(others, line) })
}

func union(a, b steps) steps {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
