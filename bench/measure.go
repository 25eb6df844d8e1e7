package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/probe"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
)

// measure takes one system through all that is measured of every system.
func (b *bench) measure(ctx context.Context, k subject.Kind, series int) error {
	b.logger.Info("measure", "system", k.Name)
	l, err := load.Make(b.plan(series, k.Write))
	if err != nil {
		return err
	}
	defer debug.FreeOSMemory()
	s, err := k.Start(ctx, b.options)
	if err != nil {
		return err
	}
	defer s.Stop()
	add := func(metric, unit string, value float64) { b.result.Add(series, k.Name, metric, unit, value) }

	fresh, err := b.ingest(ctx, k, s, l.Rounds(0, 1))
	if err != nil {
		return err
	}
	add(report.New, "series/CPU-s", float64(series)/fresh.usage.Total().Seconds())
	rounds := l.Plan.Rounds
	steady, err := b.ingest(ctx, k, s, l.Rounds(1, rounds))
	if err != nil {
		return err
	}
	samples := float64(l.Plan.Samples(rounds - 1))
	total := steady.usage.Total().Seconds()
	add(report.Steady, "samples/CPU-s", samples/total)
	if len(s.Front) > 0 {
		add(report.SteadyFront, "samples/CPU-s", samples/s.Of(steady.usage, s.Front).Seconds())
	}
	for i, p := range s.Processes {
		add(report.Share+p.Name, "%", 100*steady.usage[i].Seconds()/total)
		add("read of a sample, "+p.Name, "B", float64(steady.moved[i].Read)/samples)
		add("written of a sample, "+p.Name, "B", float64(steady.moved[i].Written)/samples)
	}
	add("ingest, elapsed until acknowledged", "samples/s", samples/steady.sent.Elapsed.Seconds())
	add("requests repeated", "", float64(fresh.sent.Retries+steady.sent.Retries))
	add("bytes of a request's sample, compressed", "B", float64(l.Bytes(1, rounds))/samples)
	add("bytes of a request's sample, raw", "B", float64(l.RawBytes)/float64(l.Plan.Samples(rounds)))
	add(report.Others, "% of the machine", 100*steady.others)
	b.others = append(b.others, steady.others)

	if err := b.front(s, add); err != nil {
		return err
	}
	if err := disk(s, float64(l.Plan.Samples(rounds)), add); err != nil {
		return err
	}
	if k.Project && k.Name != report.Project {
		return nil // its servers are read as those of two are
	}
	l.Bodies = nil
	debug.FreeOSMemory()
	if err := b.read(ctx, k, s, series); err != nil {
		return err
	}
	peak, err := s.Servers[0].Peak()
	if err != nil {
		return err
	}
	add(report.StoreMemory, "bytes", float64(peak))
	if !k.Project {
		return nil
	}
	return b.restart(ctx, k, s, series)
}

// work is what a number of requests cost.
type work struct {
	usage  subject.Usage
	moved  []probe.Traffic // by each process
	sent   load.Sent
	others float64 // share of the machine that others used meanwhile
}

func (b *bench) ingest(ctx context.Context, k subject.Kind, s *subject.System, bodies [][]byte) (work, error) {
	before, err := s.Usage()
	if err != nil {
		return work{}, err
	}
	movedBefore, err := moved(s)
	if err != nil {
		return work{}, err
	}
	watch, err := startWatch()
	if err != nil {
		return work{}, err
	}
	sender := load.Sender{URL: s.WriteURL, Version: k.Write, Connections: b.connections, Rate: b.rate}
	sent, err := sender.Send(ctx, bodies)
	if err != nil {
		return work{}, err
	}
	after, err := s.Idle(ctx)
	if err != nil {
		return work{}, err
	}
	w := work{usage: after.Minus(before), sent: sent}
	if w.others, err = watch.others(w.usage.Total()); err != nil {
		return work{}, err
	}
	if w.moved, err = moved(s); err != nil {
		return work{}, err
	}
	for i := range w.moved {
		w.moved[i] = w.moved[i].Minus(movedBefore[i])
	}
	return w, nil
}

// moved is what each process has read and written.
func moved(s *subject.System) ([]probe.Traffic, error) {
	all := make([]probe.Traffic, len(s.Processes))
	for i, p := range s.Processes {
		var err error
		if all[i], err = p.Moved(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// watch tells what the rest of the machine does.
type watch struct {
	began      time.Time
	busy, self time.Duration
}

func startWatch() (watch, error) {
	busy, err := probe.Busy()
	if err != nil {
		return watch{}, err
	}
	self, err := probe.CPU(os.Getpid())
	return watch{began: time.Now(), busy: busy, self: self}, err
}

// others is the share of the machine's time that neither the system nor this
// process used since.
func (w watch) others(system time.Duration) (float64, error) {
	now, err := startWatch()
	if err != nil {
		return 0, err
	}
	all := now.began.Sub(w.began).Seconds() * float64(probe.ThisMachine().Cores)
	used := (now.busy - w.busy) - (now.self - w.self) - system
	return max(0, used.Seconds()/all), nil
}

// front adds the memory of each process, and that of those before the stores.
func (b *bench) front(s *subject.System, add func(metric, unit string, value float64)) error {
	sum := int64(0)
	for _, p := range s.Processes {
		peak, err := p.Peak()
		if err != nil {
			return err
		}
		add("peak memory while writing, "+p.Name, "bytes", float64(peak))
		for _, q := range s.Front {
			if p == q {
				sum += peak
			}
		}
	}
	if sum > 0 {
		add(report.FrontMemory, "bytes", float64(sum))
	}
	return nil
}

// disk adds what the data of each process takes up.
func disk(s *subject.System, samples float64, add func(metric, unit string, value float64)) error {
	stored := false
	for _, p := range s.Processes {
		size, err := p.Disk()
		if err != nil {
			return err
		}
		if size == 0 {
			continue
		}
		add("disk, "+p.Name, "B/sample", float64(size)/samples)
		if !stored { // the first process is a store, in every system
			add(report.Disk, "B/sample", float64(size)/samples)
			stored = true
		}
	}
	return nil
}

// enough is the CPU time that a system uses while a way is measured, at least:
// what else it does on the side, and when it collects garbage, then evens out.
// Where elapsed time is measured, as much of that is enough.
const enough = 500 * time.Millisecond

// read reads the latest samples of everything by every way.
func (b *bench) read(ctx context.Context, k subject.Kind, s *subject.System, series int) error {
	for range b.reads {
		for _, way := range s.Ways {
			if err := b.readBy(ctx, k, s, way, series); err != nil {
				return fmt.Errorf("%s: %w", way.Name, err)
			}
		}
	}
	return nil
}

// readBy reads by one way, as often as it takes to use enough CPU time.
func (b *bench) readBy(ctx context.Context, k subject.Kind, s *subject.System, way subject.Way, series int) error {
	system := k.Name
	if !k.Project {
		system += ", " + way.Name
	}
	add := func(metric, unit string, value float64) { b.result.Add(series, system, metric, unit, value) }
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
		if r.Series < series {
			return fmt.Errorf("%d series came, of %d", r.Series, series)
		}
		after, err := s.Usage()
		if err != nil {
			return err
		}
		used = after.Minus(before).Total()
		add(report.LatestFirst, "s", r.FirstByte.Seconds())
		add("latest of all series, elapsed", "series/s", float64(series)/r.Elapsed.Seconds())
		add(report.LatestBytes, "B/series", float64(r.Bytes)/float64(series))
	}
	add(report.Latest, "series/CPU-s", float64(series*reads)/used.Seconds())
	b.logger.Info("read", "way", way.Name, "reads", reads, "cpu_seconds", used.Seconds())
	return nil
}
