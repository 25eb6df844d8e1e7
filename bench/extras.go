package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// restart measures what only the project has, with a system that holds samples:
// reading through HAProxy, restarting a server, and replay by it, which has to read
// files because nothing is in memory yet.
func (b *bench) restart(ctx context.Context, k subject.Kind, s *subject.System, series int) error {
	add := b.adder(series, k.Name)
	if err := throughProxy(ctx, s, add); err != nil {
		return err
	}
	server := s.Servers[0]
	server.Stop()
	began := time.Now()
	if err := server.Start(ctx); err != nil {
		return err
	}
	var r read.Result
	for {
		var err error
		if r, err = read.Snapshot(ctx, s.RPC); err == nil {
			break
		}
		if time.Since(began) > time.Minute {
			return fmt.Errorf("after a restart: %w", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	add(report.Restart, "s", (time.Since(began) - r.Elapsed + r.FirstByte).Seconds())
	if r.Series < series {
		return fmt.Errorf("after a restart %d series came, of %d", r.Series, series)
	}
	stored := b.plan(series, k.Write).Samples(b.plan(series, k.Write).Rounds)
	all := &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.Unix(0, 0))}
	for metric, request := range map[string]*metricsv1.GetMetricsRequest{
		report.Replay:    {Start: all, LabelReferences: true},
		report.ReplayAll: {Start: all},
		// Few series, so that sending them costs nothing.
		report.ReplaySkip: {Start: all, Selectors: []string{b.profile.Few}},
	} {
		before, err := s.Servers[0].CPU()
		if err != nil {
			return err
		}
		r, err := read.Metrics(ctx, s.RPC, request)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		after, err := s.Servers[0].CPU()
		if err != nil {
			return err
		}
		add(metric, "samples/CPU-s", float64(stored)/(after-before).Seconds())
		b.logger.Info("replay", "metric", metric, "samples", r.Samples, "elapsed", r.Elapsed)
	}
	return nil
}

// throughProxy reads through HAProxy, if there is one, several times, since elapsed
// time varies.
func throughProxy(ctx context.Context, s *subject.System, add adder) error {
	if s.Balancer == "" {
		return nil
	}
	const least = 5
	for reads, elapsed := 0, time.Duration(0); reads < least || elapsed < enough; reads++ {
		r, err := read.Snapshot(ctx, read.Server{Address: s.Balancer})
		if err != nil {
			return fmt.Errorf("through HAProxy: %w", err)
		}
		elapsed += r.Elapsed
		add(report.ThroughProxy, "series/s", float64(r.Series)/r.Elapsed.Seconds())
	}
	return nil
}

// extras measures what is not ingest at full speed.
func (b *bench) extras(ctx context.Context, k subject.Kind) error {
	if b.hour {
		b.logger.Info("measure", "what", report.DiskHour)
		if err := b.diskHour(ctx, k); err != nil {
			return fmt.Errorf("disk: %w", err)
		}
	}
	if b.live == 0 {
		return nil
	}
	if err := b.archive(ctx); err != nil {
		return fmt.Errorf("bucket: %w", err)
	}
	if err := b.answerTimes(ctx, k); err != nil {
		return fmt.Errorf("answers: %w", err)
	}
	b.logger.Info("measure", "what", "followers")
	if err := b.latency(ctx, k); err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	for _, references := range []bool{true, false} {
		if err := b.followers(ctx, k, references); err != nil {
			return fmt.Errorf("followers: %w", err)
		}
	}
	return nil
}

func (b *bench) diskHour(ctx context.Context, k subject.Kind) error {
	const series, rounds = 100_000, 240
	p := b.plan(series, k.Write)
	p.Rounds = rounds
	s, l, err := b.start(ctx, k, p)
	if err != nil {
		return err
	}
	defer s.Stop()
	if _, err := b.ingest(ctx, k, s, l, 0, rounds); err != nil {
		return err
	}
	size, err := s.Front[1].Disk()
	if err != nil {
		return err
	}
	b.adder(series, k.Name)(report.DiskHour, "B/sample", float64(size)/float64(p.Samples(rounds)))
	return nil
}

// latency measures the time from posting a request to a follower receiving its
// samples, at 100,000 samples a second.
func (b *bench) latency(ctx context.Context, k subject.Kind) error {
	const series, pace = 100_000, 100_000
	var mu sync.Mutex
	sent := map[int64]time.Time{}
	var delays []time.Duration
	_, _, _, err := b.follow(ctx, k, follow{series: series, pace: pace, followers: 1, references: true,
		sending: func(at int64) {
			mu.Lock()
			defer mu.Unlock()
			sent[at] = time.Now()
		},
		received: func(response []byte) {
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			read.EachTimestamp(response, func(at int64) {
				if posted, ok := sent[at]; ok {
					delays = append(delays, now.Sub(posted))
					delete(sent, at)
				}
			})
		}})
	if err != nil {
		return err
	}
	if len(delays) == 0 {
		return errors.New("nothing came")
	}
	slices.Sort(delays)
	add := b.adder(series, k.Name)
	add(report.FollowHalf, "s", delays[len(delays)/2].Seconds())
	add(report.FollowMost, "s", delays[len(delays)*99/100].Seconds())
	return nil
}

// followers measures a hundred followers, with label references, as the project's
// clients use them, or with full labels throughout.
func (b *bench) followers(ctx context.Context, k subject.Kind, references bool) error {
	const series, pace, readers = 20_000, 20_000, 100
	metric, got := report.Followers, "samples that a hundred followers got"
	if !references {
		metric, got = report.FollowersAll, got+", labels throughout"
	}
	var samples atomic.Int64
	s, used, elapsed, err := b.follow(ctx, k, follow{series: series, pace: pace, followers: readers, references: references,
		sending: func(int64) {},
		received: func(response []byte) {
			_, n, _ := read.Count(response)
			samples.Add(int64(n))
		}})
	if err != nil {
		return err
	}
	add := b.adder(series, k.Name)
	add(metric, "CPU-s/s", s.Of(used, s.Servers[0]).Seconds()/elapsed.Seconds())
	add(got, "samples/s", float64(samples.Load())/elapsed.Seconds())
	return nil
}

// follow describes followers of all series while samples arrive at a steady pace.
type follow struct {
	series, pace int // samples a second
	followers    int
	references   bool // instead of labels that were sent before
	// at says what each follower calls, and how often a call says that it is live: once for
	// each server behind it. Nil: the first server.
	at       func(*subject.System) (servers []read.Server, lives int)
	sending  func(at int64)        // a request with this timestamp is being posted
	received func(response []byte) // once the stream is live
}

// follow returns the system, which has stopped, what its processes used, and how long it
// took.
func (b *bench) follow(ctx context.Context, k subject.Kind, f follow) (s *subject.System, used subject.Usage, elapsed time.Duration, err error) {
	p := b.plan(f.series, k.Write)
	p.Rounds = 1 + max(1, int(b.live.Seconds()*float64(f.pace))/f.series)
	s, l, err := b.start(ctx, k, p)
	if err != nil {
		return nil, nil, 0, err
	}
	defer s.Stop()
	if _, err := b.ingest(ctx, k, s, l, 0, 1); err != nil {
		return nil, nil, 0, err
	}
	servers, lives := []read.Server{s.RPC}, 1
	if f.at != nil {
		servers, lives = f.at(s)
	}
	live, stop := context.WithCancel(ctx)
	defer stop()
	var readers errgroup.Group
	for i := range f.followers * len(servers) {
		stream, err := f.open(live, servers[i%len(servers)], lives)
		if err != nil {
			return nil, nil, 0, err
		}
		readers.Go(func() error {
			for {
				response, err := stream.Next()
				if err != nil {
					return err
				}
				f.received(response)
			}
		})
	}
	before, err := s.Idle(ctx)
	if err != nil {
		return nil, nil, 0, err
	}
	began := time.Now()
	sender := b.sender(k, s, l)
	sender.Rate = float64(f.pace) / float64(b.perRequest)
	sender.Sending = func(i int) { f.sending(p.Timestamp(1+i/p.Requests(), i%p.Requests())) }
	if _, err := sender.Send(ctx, l.Rounds(1, p.Rounds)); err != nil {
		return nil, nil, 0, err
	}
	elapsed = time.Since(began)
	after, err := s.Idle(ctx)
	if err != nil {
		return nil, nil, 0, err
	}
	stop()
	if err := readers.Wait(); err != nil && status.Code(err) != codes.Canceled {
		return nil, nil, 0, err
	}
	return s, after.Minus(before), elapsed, nil
}

// open opens a stream, which ends with the context, and reads it until it has said so many
// times that it is live.
func (f *follow) open(ctx context.Context, server read.Server, lives int) (*read.Stream, error) {
	stream, err := read.Open(ctx, server, &metricsv1.GetMetricsRequest{Follow: true, LabelReferences: f.references})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = stream.Close() })
	for lives > 0 {
		response, err := stream.Next()
		if err != nil {
			return nil, err
		}
		if read.Synced(response) {
			lives--
		}
	}
	return stream, nil
}
