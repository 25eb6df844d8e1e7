package torture

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// entries is a set of them by series.
type entries map[string]map[entry]bool

func (l entries) add(series string, e entry) {
	if l[series] == nil {
		l[series] = map[entry]bool{}
	}
	l[series][e] = true
}

func (l entries) has(series string, e entry) bool { return l[series][e] }

// len counts them.
func (l entries) len() (n int) {
	for _, entries := range l {
		n += len(entries)
	}
	return n
}

// without returns a history without those in the set.
func (l entries) without(h history) history {
	kept := make(history, len(h))
	for name, list := range h {
		list = slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return l.has(name, e) })
		if len(list) > 0 {
			kept[name] = list
		}
	}
	return kept
}

// cutLogs takes from each forwarder, and from some of the servers, the end of the
// newest segment of its log while nothing runs, and starts everything again in any
// order.
func (r *rig) cutLogs(f fault) (func(), bool) {
	r.kill(r.units...)
	rnd := rand.New(rand.NewPCG(uint64(f.target), uint64(f.amount)))
	for _, u := range r.forwarders {
		r.cutLog(u, rnd)
		r.cuts++
	}
	for _, u := range r.servers {
		if rnd.IntN(2) == 0 {
			r.cutLog(u, rnd)
		}
	}
	r.note()
	late := r.units
	at := time.Now()
	for _, i := range rnd.Perm(len(late)) {
		u := late[i]
		at = at.Add(rand2(rnd, f.lasts))
		r.ends = append(r.ends, pending{at, func() {
			if u.state == down {
				r.say("start %s", u.Name)
				u.revive()
			}
		}})
	}
	return nil, true
}

// cutLog takes up to some kilobytes from the log that was written last.
func (r *rig) cutLog(u *unit, rnd *rand.Rand) {
	latest, err := filepath.EvalSymlinks(filepath.Join(u.store, "log", "latest"))
	if err != nil {
		r.say("nothing to cut at %s: %v", u.Name, err)
		return
	}
	// Who was killed as a segment began may have the link at the one before.
	segments, err := filepath.Glob(filepath.Join(filepath.Dir(latest), "*.seg"))
	if err != nil {
		r.t.Error(err)
		return
	}
	newest := slices.Max(segments)
	info, err := os.Stat(newest)
	if err != nil {
		r.t.Error(err)
		return
	}
	size := max(info.Size()-1-rnd.Int64N(1<<(6+rnd.IntN(11))), 0)
	r.say("%s is cut from %d to %d bytes at %s", filepath.Base(newest), info.Size(), size, u.Name)
	if err := os.Truncate(newest, size); err != nil {
		r.t.Error(err)
	}
}

// note notes what was acknowledged, or may be, and is nowhere any more.
func (r *rig) note() {
	left := r.stored(slices.Concat(r.forwarders, r.servers))
	// An answer may be held in a proxy.
	for _, h := range []history{r.senders.underWay(), r.senders.history()} {
		for name, list := range h {
			for _, e := range list {
				if !left.has(name, e) {
					r.gone.add(name, e)
				}
			}
		}
	}
	r.say("%d entries are nowhere any more", r.gone.len())
}

// alone says whether a server has what no other process has.
func (r *rig) alone(u *unit) bool {
	others := slices.Concat(r.forwarders, r.servers)
	others = slices.DeleteFunc(others, func(other *unit) bool { return other == u })
	return len(r.stored(others).without(r.salvage(u.store))) > 0
}

// stored is all that some processes have, as a set.
func (r *rig) stored(units []*unit) entries {
	all := entries{}
	for _, u := range units {
		for name, list := range r.salvage(u.store) {
			for _, e := range list {
				all.add(name, e)
			}
		}
	}
	return all
}

// salvage is what can be read of the files of a store, of which the newest may
// be cut.
func (r *rig) salvage(store string) history {
	all := history{}
	for _, name := range files(store) {
		_, stdout, _ := harness.Client(r.t, "inspect", "--samples", "--output=proto", filepath.Join(store, name))
		if _, err := all.parse(stdout); err != nil {
			r.t.Errorf("inspect %s: %v", name, err)
		}
	}
	return all
}
