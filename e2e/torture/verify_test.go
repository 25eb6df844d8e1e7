package torture

import (
	"bytes"
	"fmt"
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
	n := want.len()
	patience = time.Now().Add(drainTime)
	r.until(patience, "files", func() bool {
		r.watch()
		c.watch()
		return r.sameSizes()
	})
	for _, f := range c.followers {
		r.until(patience, f.name, func() bool { return f.received() >= n })
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

func (r *rig) stores() (list []string) {
	for _, u := range r.units[forwarderUnit:] {
		list = append(list, u.store)
	}
	return list
}

func (r *rig) sameSizes() bool {
	sizes := func(store string) string {
		var b strings.Builder
		for _, name := range files(store) {
			if info, err := os.Stat(filepath.Join(store, name)); err == nil {
				fmt.Fprintln(&b, name, info.Size())
			}
		}
		return b.String()
	}
	want := sizes(r.stores()[0])
	return !slices.ContainsFunc(r.stores()[1:], func(s string) bool { return sizes(s) != want })
}

// verify compares everything with what was acknowledged.
func (r *rig) verify(want history, c *clients, res *result) {
	for _, u := range r.units {
		r.listen(u.Process)
	}
	r.listen(c.cli.Process)
	res.files = r.compareFiles()
	r.compareWith(want, c.cli.history(), "client with a cursor file", res)
	for _, f := range c.followers {
		r.compareWith(want, f.history(), f.name, res)
	}
	for i, u := range r.servers() {
		for _, protocol := range []string{"grpc", "connect", "grpcweb"} {
			r.compareWith(want, r.get(u, protocol), fmt.Sprintf("get --since from server %d over %s", i+1, protocol), res)
		}
	}
	for _, store := range r.stores() {
		r.compareWith(want, r.inspect(store), "files of "+filepath.Base(store), res)
	}
}

func (r *rig) compareWith(want, got history, what string, res *result) {
	d := compare(want, got)
	res.lost += d.lost
	res.duplicated += d.duplicated
	res.foreign += d.foreign
	res.disordered += d.disordered
	if !d.none() {
		r.t.Errorf("%s: %d entries, %d were acknowledged: %s", what, got.len(), want.len(), d)
		r.say("%s: %s", what, d)
	} else {
		r.say("%s: all %d entries", what, got.len())
	}
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

// compareFiles requires the servers' files to be the forwarder's.
func (r *rig) compareFiles() int {
	stores := r.stores()
	want := files(stores[0])
	logs := map[string]bool{}
	for _, name := range want {
		logs[filepath.Dir(name)] = true
	}
	if len(logs) != 1 {
		r.t.Errorf("the forwarder has %d logs: nothing that happened is a reason for another", len(logs))
	}
	for _, store := range stores[1:] {
		if got := files(store); !slices.Equal(want, got) {
			r.t.Errorf("%s has the files %q, the forwarder %q", filepath.Base(store), got, want)
		}
		for _, name := range want {
			a, errA := os.ReadFile(filepath.Join(stores[0], name))
			b, errB := os.ReadFile(filepath.Join(store, name))
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				r.t.Errorf("%s: %s is not the forwarder's: %d and %d bytes, %v, %v", filepath.Base(store), name, len(b), len(a), errA, errB)
			}
		}
	}
	return len(want)
}

// get what a server has stored.
func (r *rig) get(u *unit, protocol string) history {
	code, stdout, stderr := harness.Client(r.t, "get", "--since=1h", "--output=proto",
		"--address="+u.Listening("rpc"), "--protocol="+protocol)
	return r.parse(code, stdout, stderr, "get from "+u.Name)
}

// inspect the files of a store.
func (r *rig) inspect(store string) history {
	all := history{}
	for _, name := range files(store) {
		code, stdout, stderr := harness.Client(r.t, "inspect", "--samples", "--output=proto", filepath.Join(store, name))
		for series, list := range r.parse(code, stdout, stderr, "inspect "+name) {
			all[series] = append(all[series], list...)
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
	for _, store := range r.stores() {
		if out, err := exec.Command("cp", "-a", store, dir).CombinedOutput(); err != nil {
			r.t.Errorf("keep the store: %v: %s", err, out)
		}
	}
	r.t.Logf("evidence is in %s", dir)
}
