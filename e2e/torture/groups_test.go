package torture

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// group is what stores a share of the series: all of it, and without a name, where there
// is only one.
type group struct {
	name                string
	forwarders, servers []*unit
	reads               []*proxy // routers to its servers
	owed                owed
}

const (
	// ahead is how far ahead series are said to move, so that whoever is stopped then
	// has time to read it.
	ahead = 45 * time.Second
	// movedFor is how long there are faults at least after that.
	movedFor = 15 * time.Second
)

// groupNames are those of all groups that are started.
func (o options) groupNames() []string {
	if !o.groups {
		return []string{""}
	}
	names := []string{"a", "b"}
	for _, name := range o.then {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// groupsFile is one that a receiver or a router reads. Each has its own, since it calls
// others by proxies of its own; what they say of the placement is the same.
type groupsFile struct {
	path  string
	lines map[string]string // by group
}

// groupsFile writes the first one of a process, which names one listener of some units of
// each group.
func (r *rig) groupsFile(of, key, listener string, units func(*group) []*unit) string {
	f := &groupsFile{path: filepath.Join(r.dir, of+".groups.yml"), lines: map[string]string{}}
	for _, g := range r.groups {
		to := r.proxiesTo(of, listener, units(g))
		if key == keyServers {
			g.reads = append(g.reads, to...)
		}
		f.lines[g.name] = fmt.Sprintf("  %s: {%s: %q}\n", g.name, key, strings.Join(addresses(to), ","))
	}
	r.files = append(r.files, f)
	f.write(r, 1, "epochs:\n- groups: [a, b]\n", "a", "b")
	return f.path
}

func (f *groupsFile) write(r *rig, version int, epochs string, groups ...string) {
	text := fmt.Sprintf("version: %d\nspread: {labels: [series]}\ngroups:\n", version)
	for _, name := range groups {
		text += f.lines[name]
	}
	err := os.WriteFile(f.path+".new", []byte(text+epochs), 0o600)
	if err == nil {
		err = os.Rename(f.path+".new", f.path)
	}
	if err != nil {
		r.t.Errorf("write a groups file: %v", err)
	}
}

// move says to all that other groups have the series from an instant on.
func (r *rig) move() {
	at := time.Now().Add(ahead).Truncate(time.Second)
	r.instant = at.UnixMilli()
	then := strings.Join(r.o.then, ", ")
	r.say("series move to the groups %s at %s", then, at.Format(time.TimeOnly))
	epochs := fmt.Sprintf("epochs:\n- groups: [a, b]\n- from: %s\n  groups: [%s]\n", at.UTC().Format(time.RFC3339), then)
	for _, f := range r.files {
		f.write(r, 2, epochs, r.o.groupNames()...)
	}
}

// of returns the group of a process.
func (r *rig) of(u *unit) *group {
	i := slices.IndexFunc(r.groups, func(g *group) bool {
		return slices.Contains(g.forwarders, u) || slices.Contains(g.servers, u)
	})
	return r.groups[i]
}

// cutOff has no router reach a group, whose servers go on.
func (r *rig) cutOff(g *group) func() {
	r.say("cut off the group %s", g.name)
	for _, p := range g.reads {
		p.partition()
	}
	return func() {
		r.say("heal the group %s", g.name)
		for _, p := range g.reads {
			p.heal()
		}
	}
}

func forwardersOf(g *group) []*unit { return g.forwarders }
func serversOf(g *group) []*unit    { return g.servers }

// keyServers has a group's servers in a groups file.
const keyServers = "servers"

// wholes are stores that have all that was written: one of each group.
func (r *rig) wholes(of func(*group) []*unit) [][]*unit {
	wholes := make([][]*unit, len(of(r.groups[0])))
	for i := range wholes {
		for _, g := range r.groups {
			wholes[i] = append(wholes[i], of(g)[i])
		}
	}
	return wholes
}

func named(units []*unit) string {
	var names []string
	for _, u := range units {
		names = append(names, u.Name)
	}
	return strings.Join(names, " and ")
}

// apart has the entries of a series from the instant on apart, at which it may have moved:
// there is no order between groups.
func (r *rig) apart(h history) history {
	if r.instant == 0 {
		return h
	}
	all := history{}
	for name, list := range h {
		for _, e := range list {
			if e.time >= r.instant {
				all[name+" moved"] = append(all[name+" moved"], e)
			} else {
				all[name] = append(all[name], e)
			}
		}
	}
	return all
}

// compareGroups requires each group to have something, and a router to answer what the
// servers of all groups do, of what is live. Since that ends soon, it is written again where
// they differ.
func (r *rig) compareGroups() {
	if !r.o.groups {
		return
	}
	for _, g := range r.groups {
		if r.inspect(g.servers[0]).len() == 0 {
			r.t.Errorf("the group %s has nothing", g.name)
		}
	}
	for _, u := range r.routers {
		for _, protocol := range protocols {
			differ := "nothing was asked"
			r.until(time.Now().Add(drainTime), "live series at "+u.Name, func() bool {
				differ = r.compareLive(u, protocol)
				return differ == ""
			})
			if differ != "" {
				r.t.Errorf("%s over %s: %s", u.Name, protocol, differ)
			}
		}
	}
}

// live is how many series there are in the end, of all groups.
const live = 40

// compareLive writes a sample of each, and says how what a router has of them differs from
// what the groups have.
func (r *rig) compareLive(u *unit, protocol string) string {
	at := r.writeLive()
	newest, labels := history{}, map[string]bool{}
	r.until(time.Now().Add(drainTime/10), "live series at the groups", func() bool {
		for _, g := range r.groups {
			for name, list := range r.snapshot(g.servers[0], "grpc") {
				if before := newest[name]; before == nil || before[0].time < list[0].time {
					newest[name] = list
				}
			}
		}
		return len(newest) == live && !slices.ContainsFunc(slices.Collect(maps.Values(newest)), func(list []entry) bool { return list[0].time != at })
	})
	for _, g := range r.groups {
		for _, line := range r.lines(g.servers[0], "grpc", "labels", "series") {
			labels[line] = true
		}
	}
	if len(newest) != live {
		return fmt.Sprintf("the groups have %d live series, not %d", len(newest), live)
	}
	if d := compare(newest, r.snapshot(u, protocol)); !d.none() {
		return fmt.Sprintf("the snapshot is not that of the groups: %s", d)
	}
	if got, want := r.lines(u, protocol, "labels", "series"), slices.Sorted(maps.Keys(labels)); !slices.Equal(got, want) {
		return fmt.Sprintf("values of a label are %q, the groups have %q", got, want)
	}
	return ""
}

// writeLive writes a sample of each live series, and where series moved one of before, which
// goes to the group that they were of. It returns the time of the newer ones.
func (r *rig) writeLive() int64 {
	at := time.Now().UnixMilli()
	var request []*metricsv1.TimeSeries
	for i := range live {
		s := &metricsv1.TimeSeries{Labels: []*metricsv1.Label{{Name: "__name__", Value: "live"}, {Name: "series", Value: fmt.Sprint(i)}}}
		if r.instant > 0 {
			s.Samples = append(s.Samples, &metricsv1.Sample{Timestamp: r.instant - 1, Value: float64(at)})
		}
		s.Samples = append(s.Samples, &metricsv1.Sample{Timestamp: at, Value: float64(i)})
		request = append(request, s)
	}
	l := r.senders.lanes[0]
	if status, _, err := l.postTo(l.of.urls[0], encode(r.t, request, false)); err != nil || status != http.StatusNoContent {
		r.say("live series: %d, %v", status, err)
	}
	return at
}

// snapshot of the live series.
func (r *rig) snapshot(u *unit, protocol string) history {
	code, stdout, stderr := r.call(u, protocol, "get", "--output=proto", `{__name__="live"}`)
	h := r.parse(code, stdout, stderr, "snapshot from "+u.Name)
	for name, list := range h {
		if len(list) != 1 {
			r.t.Errorf("snapshot from %s: %s has %d entries", u.Name, name, len(list))
		}
	}
	return h
}

func (r *rig) lines(u *unit, protocol string, args ...string) []string {
	code, stdout, stderr := r.call(u, protocol, args...)
	if code != 0 {
		r.t.Errorf("%s from %s over %s: exit code %d: %s", args[0], u.Name, protocol, code, stderr)
	}
	lines := strings.Fields(string(stdout))
	slices.Sort(lines)
	return lines
}

func (r *rig) call(u *unit, protocol string, args ...string) (code int, stdout, stderr []byte) {
	return harness.Client(r.t, append(args, "--address="+u.Listening("rpc"), "--protocol="+protocol)...)
}
