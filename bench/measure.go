package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/probe"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
)

// adder adds a figure of one system at one size.
type adder func(metric, unit string, value float64)

func (b *bench) adder(series int, system string) adder {
	return func(metric, unit string, value float64) { b.result.Add(series, system, metric, unit, value) }
}

// measure runs one system through everything that is measured of every system.
func (b *bench) measure(ctx context.Context, k subject.Kind, series int) error {
	b.logger.Info("measure", "system", k.Name)
	s, l, err := b.start(ctx, k, b.plan(series, k.Write))
	if err != nil {
		return err
	}
	defer debug.FreeOSMemory()
	defer s.Stop()
	add := b.adder(series, k.Name)
	if err := b.write(ctx, k, s, l, add); err != nil {
		return err
	}
	if k.Project && k.Name != report.Project && k.Name != report.ProjectTLS {
		return nil // its servers are read as those of two are
	}
	l.Bodies = nil
	debug.FreeOSMemory()
	if err := b.read(ctx, k, s, l); err != nil {
		return err
	}
	peak, err := s.Servers[0].Peak()
	if err != nil {
		return err
	}
	add(report.StoreMemory, "bytes", float64(peak))
	if err := b.readStore(ctx, s, series, add); err != nil {
		return err
	}
	if k.Name != report.Project {
		return nil
	}
	return b.restart(ctx, k, s, series)
}

// start makes a load and starts the system that it is for.
func (b *bench) start(ctx context.Context, k subject.Kind, p load.Plan) (*subject.System, *load.Load, error) {
	l, err := load.Make(p)
	if err != nil {
		return nil, nil, err
	}
	s, err := k.Start(ctx, b.options)
	return s, l, err
}

// write sends a load, whose first round has new series, and adds what it cost.
func (b *bench) write(ctx context.Context, k subject.Kind, s *subject.System, l *load.Load, add adder) error {
	rounds := l.Plan.Rounds
	fresh, err := b.ingest(ctx, k, s, l, 0, 1)
	if err != nil {
		return err
	}
	steady, err := b.ingest(ctx, k, s, l, 1, rounds)
	if err != nil {
		return err
	}
	samples, all := float64(l.Plan.Samples(rounds-1)), float64(l.Plan.Samples(rounds))
	total := steady.usage.Total().Seconds()
	add(report.New, "series/CPU-s", float64(l.Plan.Series)/fresh.usage.Total().Seconds())
	add(report.Steady, "samples/CPU-s", samples/total)
	add("ingest, elapsed until acknowledged", "samples/s", samples/steady.sent.Elapsed.Seconds())
	add("requests repeated", "", float64(fresh.sent.Retries+steady.sent.Retries))
	add("bytes of a request's sample, compressed", "B", float64(l.Bytes(1, rounds))/samples)
	add("bytes of a request's sample, raw", "B", float64(l.RawBytes)/all)
	add(report.Others, "% of the machine", 100*steady.others)
	if two := b.result.Find(l.Plan.Series, report.Project, report.Steady); two != nil {
		if more, ok := map[string]string{report.ProjectThree: report.Third, report.ProjectAck: report.Acknowledged}[k.Name]; ok {
			add(more, "%", 100*(two.Values[len(two.Values)-1]*total/samples-1))
		}
	}

	var cpu time.Duration // of what is before the stores
	var memory int64
	for i, p := range s.Processes {
		peak, err := p.Peak()
		if err != nil {
			return err
		}
		disk, err := p.Disk()
		if err != nil {
			return err
		}
		add(report.Cost+p.Name, "ns", float64(steady.usage[i])/samples)
		add("peak memory while writing, "+p.Name, "bytes", float64(peak))
		if disk > 0 {
			add("disk, "+p.Name, "B/sample", float64(disk)/all)
		}
		if slices.Contains(s.Front, p) {
			cpu, memory = cpu+steady.usage[i], memory+peak
		}
		if p == s.Servers[0] {
			add(report.Disk, "B/sample", float64(disk)/all)
		}
	}
	if len(s.Front) > 0 {
		add(report.SteadyFront, "samples/CPU-s", samples/cpu.Seconds())
		add(report.FrontMemory, "bytes", float64(memory))
	}
	return nil
}

// work is what some rounds cost.
type work struct {
	usage  subject.Usage
	sent   load.Sent
	others float64 // share of the machine that other programs used meanwhile
}

// ingest sends a range of rounds and waits until the system is idle.
func (b *bench) ingest(ctx context.Context, k subject.Kind, s *subject.System, l *load.Load, from, to int) (w work, err error) {
	began := time.Now()
	before, err := s.Usage()
	if err != nil {
		return w, err
	}
	busy, err := busyBeside()
	if err != nil {
		return w, err
	}
	sender := b.sender(k, s, l)
	if w.sent, err = sender.Send(ctx, l.Rounds(from, to)); err != nil {
		return w, err
	}
	after, err := s.Idle(ctx)
	if err != nil {
		return w, err
	}
	w.usage = after.Minus(before)
	now, err := busyBeside()
	used := now - busy - w.usage.Total()
	w.others = max(0, used.Seconds()/time.Since(began).Seconds()/float64(probe.ThisMachine().Cores))
	return w, err
}

func (b *bench) sender(k subject.Kind, s *subject.System, l *load.Load) load.Sender {
	return load.Sender{URL: s.WriteURL, TLS: s.TLS, Version: k.Write, Connections: b.connections, Senders: k.Senders, Round: l.Plan.Requests(), Rate: b.rate}
}

// busyBeside is the CPU time that the machine has used so far, without this process.
func busyBeside() (time.Duration, error) {
	busy, err := probe.Busy()
	if err != nil {
		return 0, err
	}
	self, err := probe.CPU(os.Getpid())
	return busy - self, err
}

// enough is the least CPU time to spend on one way of reading, so that background
// work and garbage collection even out. Where elapsed time is measured, it is the
// least of that.
const enough = 500 * time.Millisecond

// read reads the latest samples of all series, by every way.
func (b *bench) read(ctx context.Context, k subject.Kind, s *subject.System, l *load.Load) error {
	for range b.reads {
		for _, way := range s.Ways {
			if err := b.readBy(ctx, k, s, way, l); err != nil {
				return fmt.Errorf("%s: %w", way.Name, err)
			}
		}
	}
	return nil
}

// readStore reads the recent samples of all series as Thanos' queriers do, until that has
// used enough CPU time.
func (b *bench) readStore(ctx context.Context, s *subject.System, series int, add adder) error {
	if s.StoreAPI.Address == "" {
		return nil
	}
	for range b.reads {
		before, err := s.Usage()
		if err != nil {
			return err
		}
		used, reads := time.Duration(0), 0
		for ; used < enough; reads++ {
			r, err := s.ReadStore(ctx)
			if err != nil {
				return fmt.Errorf("StoreAPI: %w", err)
			}
			if r.Series < series {
				return fmt.Errorf("StoreAPI: %d series came, of %d", r.Series, series)
			}
			after, err := s.Usage()
			if err != nil {
				return err
			}
			used = after.Minus(before).Total()
			add(report.StoreAPI+", first byte", "s", r.FirstByte.Seconds())
			add(report.StoreAPI+", bytes", "B/series", float64(r.Bytes)/float64(series))
		}
		add(report.StoreAPI, "series/CPU-s", float64(series*reads)/used.Seconds())
		b.logger.Info("read", "way", "StoreAPI", "reads", reads, "cpu_seconds", used.Seconds())
	}
	return nil
}

// readBy reads by one way until that has used enough CPU time.
func (b *bench) readBy(ctx context.Context, k subject.Kind, s *subject.System, way subject.Way, l *load.Load) error {
	series := l.Plan.Series
	want := series
	if way.Numbers {
		want = l.Numbers
	}
	system := k.Name
	if !k.Project {
		system += ", " + way.Name
	}
	add := b.adder(series, system)
	before, err := s.Usage()
	if err != nil {
		return err
	}
	used, reads := time.Duration(0), 0
	for ; used < enough; reads++ {
		r, err := way.Read(ctx)
		if err != nil {
			return err
		}
		if r.Series < want {
			return fmt.Errorf("%d series came, of %d", r.Series, want)
		}
		after, err := s.Usage()
		if err != nil {
			return err
		}
		used = after.Minus(before).Total()
		add(report.LatestFirst, "s", r.FirstByte.Seconds())
		add("latest of all series, elapsed", "series/s", float64(series)/r.Elapsed.Seconds())
		add("latest of all series, bytes", "B/series", float64(r.Bytes)/float64(series))
	}
	add(report.Latest, "series/CPU-s", float64(series*reads)/used.Seconds())
	b.logger.Info("read", "way", way.Name, "reads", reads, "cpu_seconds", used.Seconds())
	return nil
}
