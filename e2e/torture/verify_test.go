package torture

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// drainTime that everything has, once it is healed.
const drainTime = 60 * time.Second

// result of a run.
type result struct {
	seed         uint64
	acknowledged int
	requests     int64
	retries      int64
	late         int64
	lost         int
	duplicated   int
	foreign      int
	disordered   int
	files        int
	twice        int // stored in more than one log
	again        int
	lasted       time.Duration
}

// drain waits until all requests are acknowledged and have come everywhere.
func (r *rig) drain(s *senders, c *clients) history {
	s.end()
	patience := time.Now().Add(drainTime)
	r.until(patience, "answers", func() bool {
		r.watch()
		c.watch()
		return s.finished()
	})
	if !s.finished() {
		r.t.Errorf("requests are still without an answer %s after all was healed", drainTime)
	}
	want := s.history()
	n := r.gone.without(want).len()
	patience = time.Now().Add(drainTime)
	r.until(patience, "files", func() bool {
		r.watch()
		c.watch()
		return r.sameSizes()
	})
	for _, f := range c.followers {
		r.until(patience, f.name, func() bool { return f.received() >= n })
	}
	if c.subscriber != nil {
		r.until(patience, c.subscriber.name, func() bool {
			return c.subscriber.results() > 0 && c.subscriber.evaluated() > r.instant
		})
	}
	r.until(patience, "client", func() bool { c.watch(); return c.cli.history().len() >= n })
	time.Sleep(2 * heartbeat) // what comes too often comes now
	return want
}

func (r *rig) until(deadline time.Time, what string, ok func() bool) {
	for !ok() {
		if time.Now().After(deadline) {
			r.say("waited too long for %s", what)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// files of a store, by the path below it, in order of time.
func files(store string) []string {
	paths, _ := filepath.Glob(filepath.Join(store, "log", "*", "*.seg"))
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	for i := range paths {
		paths[i] = strings.TrimPrefix(paths[i], store+"/")
	}
	return paths
}

// written are the files of all forwarders of a group, and of its servers where forwarders
// were lost, and of the stores that have one that which has most of it.
func (r *rig) written(g *group) map[string]string {
	all := map[string]string{}
	stores := g.forwarders
	if r.losses > 0 {
		stores = slices.Concat(stores, g.servers)
	}
	for _, u := range stores {
		for _, name := range files(u.store) {
			if before, known := all[name]; !known || sizeOf(before, name) < sizeOf(u.store, name) {
				all[name] = u.store
			}
		}
	}
	return all
}

// hasLess says whether a server of a group may lack files that the bucket has: it was filled
// with the newest of a log, or nobody has them any more.
func (r *rig) hasLess(g *group, u *unit) bool {
	if r.bucket == nil {
		return false
	}
	lacks := func(name string) bool { return sizeOf(u.store, name) < 0 }
	return r.losses > 0 || slices.ContainsFunc(slices.Collect(maps.Keys(r.written(g))), lacks)
}

// sameSizes says whether the servers have as much as that.
func (r *rig) sameSizes() bool {
	return !slices.ContainsFunc(r.groups, func(g *group) bool { return !r.sameSizesIn(g) })
}

func (r *rig) sameSizesIn(g *group) bool {
	for name, store := range r.written(g) {
		size := sizeOf(store, name)
		for _, u := range g.servers {
			if has := sizeOf(u.store, name); has != size && !(has < 0 && r.bucket.has(name, size)) {
				return false
			}
		}
	}
	return true
}

// verify compares everything with what was acknowledged.
func (r *rig) verify(want history, c *clients, res *result) {
	for _, u := range r.units {
		r.listen(u.Process)
	}
	r.listen(c.cli.Process)
	for _, g := range r.groups {
		res.files += r.compareFiles(g)
		r.compareBucket(g)
	}
	r.compareWith(want, c.cli.history(), "client with a cursor file", res)
	for _, f := range c.followers {
		r.compareWith(want, f.history(), f.name, res)
	}
	if c.subscriber != nil {
		if c.subscriber.evaluated() <= r.instant {
			r.t.Errorf("%s: no step came of the time after series moved", c.subscriber.name)
		}
		c.subscriber.verify(addresses(r.rpc))
	}
	for _, u := range r.doors() {
		for _, protocol := range protocols {
			r.compareWith(want, r.get(u, protocol, r.selectors()...), fmt.Sprintf("get --since from %s over %s", u.Name, protocol), res)
		}
	}
	if r.severalLogs() {
		r.compareLogs(want, res)
		return
	}
	for _, whole := range slices.Concat(r.wholes(forwardersOf), r.wholes(serversOf)) {
		r.compareWith(want, r.inspect(whole...), "files of "+named(whole), res)
	}
}

// compare leaves out what was lost everywhere.
func (r *rig) compare(want, got history) *difference {
	return compare(r.apart(r.gone.without(want)), r.apart(r.gone.without(got)))
}

// compareLogs requires everything to be in some log. A request that a sender
// repeated may be in several.
func (r *rig) compareLogs(want history, res *result) {
	for _, whole := range r.wholes(serversOf) {
		if slices.ContainsFunc(r.groups, func(g *group) bool {
			return slices.ContainsFunc(g.servers, func(u *unit) bool { return slices.Contains(whole, u) && r.hasLess(g, u) })
		}) {
			continue // A part of it is in the bucket only, where compareBucket looks.
		}
		d := r.compare(want, r.inspect(whole...))
		res.twice += d.duplicated
		d.duplicated, d.disordered = 0, 0
		r.judge(d, "files of "+named(whole), res)
	}
}

func (r *rig) compareWith(want, got history, what string, res *result) {
	d := r.compare(want, got)
	if r.severalLogs() {
		d.disordered = 0
	}
	r.judge(d, what, res)
}

// judge adds a difference to the result.
func (r *rig) judge(d *difference, what string, res *result) {
	res.lost += d.lost
	res.duplicated += d.duplicated
	res.foreign += d.foreign
	res.disordered += d.disordered
	if !d.none() {
		r.t.Errorf("%s: not what was acknowledged: %s", what, d)
	}
	r.say("%s: %s", what, d)
}

// listen for what no process may say, whatever happens to it.
func (r *rig) listen(p *harness.Process) {
	for _, cry := range []string{"panic: ", "fatal error: ", "DATA RACE"} {
		if at := strings.Index(p.Stderr().String(), cry); at >= 0 {
			said := p.Stderr().String()[at:]
			r.t.Errorf("%s: %s", p.Name, said[:min(len(said), 4<<10)])
		}
	}
}

// compareFiles requires the files of a group's servers to be the forwarders'.
func (r *rig) compareFiles(g *group) int {
	want := r.written(g)
	logs := map[string]bool{}
	for name := range want {
		logs[filepath.Dir(name)] = true
	}
	if len(logs) < len(g.forwarders) || len(logs) > len(g.forwarders)+r.cuts+r.losses {
		r.t.Errorf("the forwarders have %d logs: nothing that happened is a reason for another", len(logs))
	}
	for _, u := range g.servers {
		got := files(u.store)
		if r.renewed {
			got = slices.DeleteFunc(got, func(name string) bool { return !logs[filepath.Dir(name)] })
		}
		slices.Sort(got)
		names := slices.Sorted(maps.Keys(want))
		// What was lost and is in the bucket need not come back.
		names = slices.DeleteFunc(names, func(name string) bool {
			return sizeOf(u.store, name) < 0 && r.bucket.has(name, sizeOf(want[name], name))
		})
		if !slices.Equal(names, got) {
			r.t.Errorf("%s has the files %q, the forwarders %q", u.Name, got, names)
		}
		for _, name := range names {
			store := want[name]
			// All of it has come before; a tick may since.
			b, errB := os.ReadFile(filepath.Join(u.store, name))
			a, errA := os.ReadFile(filepath.Join(store, name))
			if errA != nil || errB != nil || !bytes.HasPrefix(a, b) {
				r.t.Errorf("%s: %s is not the forwarder's: %d and %d bytes, %v, %v", u.Name, name, len(b), len(a), errA, errB)
			}
		}
	}
	return len(want)
}

// get what a server has stored.
func (r *rig) get(u *unit, protocol string, selectors ...string) history {
	var code int
	var stdout, stderr []byte
	// Until it has asked the bucket again, it may not know what that has.
	r.until(time.Now().Add(drainTime), "get from "+u.Name, func() bool {
		code, stdout, stderr = harness.Client(r.t, append([]string{"get", "--since=1h", "--output=proto",
			"--address=" + u.Listening("rpc"), "--protocol=" + protocol}, selectors...)...)
		return code == 0
	})
	return r.parse(code, stdout, stderr, "get from "+u.Name)
}

// inspect the files of some stores.
func (r *rig) inspect(units ...*unit) history {
	all := history{}
	defer maps.DeleteFunc(all, func(series string, _ []entry) bool { return r.o.pair && strings.HasPrefix(series, `,__name__="pair"`) })
	for _, u := range units {
		for _, name := range files(u.store) {
			code, stdout, stderr := harness.Client(r.t, "inspect", "--samples", "--output=proto", filepath.Join(u.store, name))
			for series, list := range r.parse(code, stdout, stderr, "inspect "+name) {
				all[series] = append(all[series], list...)
			}
		}
	}
	return all
}

func (r *rig) parse(code int, stdout, stderr []byte, what string) history {
	h := history{}
	rest, err := h.parse(stdout)
	if code != 0 || err != nil || len(rest) > 0 {
		r.t.Errorf("%s: exit code %d, %d bytes too many, %v: %s", what, code, len(rest), err, stderr)
	}
	return h
}

// keep the evidence: stores, logs and what happened when.
func (r *rig) keep(dir string, others ...*harness.Process) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Error(err)
		return
	}
	for _, u := range r.units {
		others = append(others, u.Process)
		u.disk.free()
	}
	for _, p := range others {
		_ = os.WriteFile(filepath.Join(dir, p.Name+".log"), p.Stderr().Bytes(), 0o644)
	}
	_ = os.WriteFile(filepath.Join(dir, "happened"), []byte(strings.Join(r.said, "\n")+"\n"), 0o644)
	for _, u := range slices.Concat(r.forwarders, r.servers) {
		if out, err := exec.Command("cp", "-a", u.store, dir).CombinedOutput(); err != nil {
			r.t.Errorf("keep the store: %v: %s", err, out)
		}
	}
	r.t.Logf("evidence is in %s", dir)
}
