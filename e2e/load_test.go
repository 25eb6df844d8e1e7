package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

const (
	// callEvery is how often each caller calls.
	callEvery = 100 * time.Millisecond
	// callTimeout is when a call has failed.
	callTimeout = 2 * time.Second
	// heartbeat that followers ask for: after three they leave a silent server.
	heartbeat = time.Second
)

// pulse measures the longest time between two beats.
type pulse struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.last.IsZero() {
		p.longest = max(p.longest, now.Sub(p.last))
	}
	p.last = now
}

// take returns the longest pause since it was called last.
func (p *pulse) take() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	longest := max(p.longest, time.Since(p.last))
	p.longest = 0
	return longest
}

// follower is the client library, following inside the test.
type follower struct {
	pulse

	name   string
	client *promgrpc.Client

	mu  sync.Mutex
	got harness.Points
}

// startFollower follows what a selector matches until the test ends.
func startFollower(t *testing.T, address string, secured *harness.Secured, protocol promgrpc.Protocol, selector string) *follower {
	t.Helper()
	options := promgrpc.Options{Protocol: protocol, TLS: secured.TLS()}
	if authorization := secured.Authorization(); authorization != "" {
		options.Header = http.Header{"Authorization": {authorization}}
	}
	client, err := promgrpc.New([]string{address}, options)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{name: "library over " + string(protocol), client: client, got: harness.Points{}}
	inBackground(t, func(ctx context.Context) {
		defer client.Close()
		q := promgrpc.Selection{
			Selectors: []string{selector}, Since: new(time.Now().Add(-time.Hour)),
			Follow: true, HeartbeatInterval: heartbeat,
		}
		for update, err := range client.Get(ctx, q) {
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				t.Errorf("%s: %v", f.name, err)
				return
			case update.GetGap() != nil:
				t.Errorf("%s: %v", f.name, update.GetGap())
			case update.Rewound:
				t.Errorf("%s: samples come again, though there is one log only", f.name)
			}
			f.add(update.GetTimeseries())
		}
	})
	return f
}

func (f *follower) add(list []*metricsv1.TimeSeries) {
	if len(list) == 0 {
		return
	}
	f.beat()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range list {
		labels := map[string]string{}
		for _, l := range s.GetLabels() {
			labels[l.GetName()] = l.GetValue()
		}
		series := harness.Series(labels)
		for _, sample := range s.GetSamples() {
			f.got.Add(series, sample.GetTimestamp(), harness.Float(sample.GetValue()))
		}
	}
}

// look calls do with the points that came so far, which it must not keep.
func (f *follower) look(do func(harness.Points)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(f.got)
}

// inBackground runs what until the test ends.
func inBackground(t *testing.T, what func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { what(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// caller makes short calls one after the other. It repeats none, so that what
// fails is seen.
type caller struct {
	pulse

	name string
	call func(ctx context.Context) error

	mu     sync.Mutex
	total  int
	failed []string
}

// startCallers calls by each protocol until the test ends: over gRPC and
// gRPC-Web from connections that stay, as programs do, and over Connect from a
// new one each time, as curl does.
func startCallers(t *testing.T, address string, secured *harness.Secured, selector string) []*caller {
	t.Helper()
	encryption, scheme := insecure.NewCredentials(), "http://"
	if secured != nil {
		encryption, scheme = credentials.NewTLS(secured.TLS()), "https://"
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(encryption))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	stub := metricsv1grpc.NewMetricsServiceClient(conn)
	request := &metricsv1.GetMetricsRequest{Selectors: []string{selector}}
	callers := []*caller{{
		name: "GetStatus over grpc",
		call: func(ctx context.Context) error {
			_, err := stub.GetStatus(authorize(ctx, secured.Authorization()), &metricsv1.GetStatusRequest{})
			return err
		},
	}, {
		name: "GetMetrics over grpc",
		call: func(ctx context.Context) error {
			s, err := stub.GetMetrics(authorize(ctx, secured.Authorization()), request)
			if err != nil {
				return err
			}
			return complete(s.Recv)
		},
	}}
	for protocol, options := range map[string][]connect.ClientOption{"grpcweb": {connect.WithGRPCWeb()}, "connect": nil} {
		transport := &http.Transport{DisableKeepAlives: protocol == "connect", TLSClientConfig: secured.TLS()}
		t.Cleanup(transport.CloseIdleConnections)
		stub := metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: authorized{transport, secured.Authorization()}}, scheme+address, options...)
		callers = append(callers, &caller{
			name: "GetStatus over " + protocol,
			call: func(ctx context.Context) error {
				_, err := stub.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
				return err
			},
		}, &caller{
			name: "GetMetrics over " + protocol,
			call: func(ctx context.Context) error {
				s, err := stub.GetMetrics(ctx, connect.NewRequest(request))
				if err != nil {
					return err
				}
				defer s.Close()
				return complete(func() (*metricsv1.GetMetricsResponse, error) {
					if !s.Receive() {
						return nil, errors.Join(s.Err(), errNoEnd)
					}
					return s.Msg(), nil
				})
			},
		})
	}
	for _, c := range callers {
		inBackground(t, c.run)
	}
	return callers
}

// authorize returns the context of a call of gRPC with a header, unless it is "".
func authorize(ctx context.Context, header string) context.Context {
	if header == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", header)
}

// authorized sends a header with each request, unless it is "".
type authorized struct {
	http.RoundTripper
	header string
}

// RoundTrip implements [http.RoundTripper].
func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.header != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", a.header)
	}
	return a.RoundTripper.RoundTrip(r)
}

var errNoEnd = errors.New("the stream has no end")

// complete reads a snapshot of one series.
func complete(receive func() (*metricsv1.GetMetricsResponse, error)) error {
	series := 0
	for {
		message, err := receive()
		if err != nil {
			return err
		}
		series += len(message.GetTimeseries())
		if message.GetEnd() != nil {
			break
		}
	}
	if series != 1 {
		return fmt.Errorf("%d series in place of one", series)
	}
	return nil
}

func (c *caller) run(ctx context.Context) {
	ticker := time.NewTicker(callEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		start := time.Now()
		err := c.call(call)
		cancel()
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.total++
		if err != nil {
			c.failed = append(c.failed, fmt.Sprintf("%s %s after %s: %v", start.Format("15:04:05.000"), c.name, time.Since(start).Round(time.Millisecond), err))
		}
		c.mu.Unlock()
		if err == nil {
			c.beat()
		}
	}
}

// takeCalls returns how many calls there were, and how those failed that did, since
// it was called last.
func (c *caller) takeCalls() (total int, failed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total, failed = c.total, slices.Clone(c.failed)
	c.total, c.failed = 0, nil
	return total, failed
}
