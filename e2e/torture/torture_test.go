package torture

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

var (
	seeds    = flag.String("seeds", "1", "seeds to run, after one another: a list of numbers and ranges, such as 1,2,10-20")
	duration = flag.Duration("duration", 15*time.Second, "how long each seed has faults")
	disks    = flag.Bool("disks", false, "give each store a small filesystem of its own, which gets full; takes root")
	evidence = flag.String("evidence", filepath.Join(os.TempDir(), fmt.Sprint("torture-evidence-", os.Getuid())), "folder to keep what a seed left behind that failed")
	show     = flag.Bool("show", false, "log the plan of each seed")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(buildAndRun(m))
}

// TestTorture runs each seed.
func TestTorture(t *testing.T) {
	numbers, err := parseSeeds(*seeds)
	if err != nil {
		t.Fatal(err)
	}
	var results []result
	counts := map[kind]int{}
	for _, seed := range numbers {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := options{duration: *duration, forwarders: 1, servers: 2, sync: "always"}
			if seed%3 == 0 {
				o.servers = 3
			}
			switch {
			case seed%8 >= 6:
				o = grouped(o, seed)
			case seed%4 == 1 || seed%16 == 2:
				o.cuts = true
				o.forwarders = 1 + int(seed+1)%2
				o.sync = []string{"always", "interval"}[seed/16%2]
				o.secured = seed%2 == 1
			case seed%8 == 4:
				if seed%5 == 0 {
					o.sync = "interval"
				}
				o.secured = seed%16 == 4
			default:
				o = redundant(o)
				o.pair = seed%2 == 1
			}
			if *disks {
				o.disk = []string{memory, image}[seed%2]
			}
			res, had := run(t, seed, o)
			t.Log("\n" + table([]result{res}, had))
			results = append(results, res)
			for k, n := range had {
				counts[k] += n
			}
		})
	}
	t.Log("\n" + table(results, counts))
}

// redundant is a deployment that bears the loss of any one machine.
func redundant(o options) options {
	o.forwarders, o.acks, o.peers, o.bucket = 2, 1, true, true
	return o
}

// grouped is one of two groups. In some seeds each bears the loss of a machine, in others
// series move: to a group that is added, from one that is removed, or both.
func grouped(o options, seed uint64) options {
	n := seed / 8
	o.groups, o.servers, o.forwarders = true, 2, 1+int(n/2%2)
	switch {
	case seed%8 == 7:
		o.then = [][]string{{"a", "b", "c"}, {"b"}, {"b", "c"}}[n%3]
		o.duration = max(o.duration, ahead+movedFor)
	case n%2 == 0:
		o = redundant(o)
		o.pair = n%4 == 0
	default:
		o.secured = n%4 == 1
	}
	return o
}

// run is one seed.
func run(t *testing.T, seed uint64, o options) (result, map[kind]int) {
	begin := time.Now()
	faults := plan(seed, o)
	if *show {
		for _, f := range faults {
			t.Log(f)
		}
	}
	r := newRig(t, o, filepath.Join(*evidence, fmt.Sprintf("seed-%d-%d", seed, begin.Unix())))
	c := newClients(r, seed)
	s := startSenders(r, seed)
	r.senders = s
	r.pair = startPair(r, s, seed)
	r.drive(faults, c)
	if r.pair != nil {
		r.verifyPair(r.pair.settle())
	}
	want := r.drain(s, c)
	res := result{
		seed: seed, acknowledged: want.len(), requests: s.requests.Load(), retries: s.retries.Load(), late: s.late.Load(),
	}
	r.verify(want, c, &res)
	r.compareGroups()
	res.again, res.lasted = c.cli.again, time.Since(begin)
	for _, f := range c.followers {
		if f.rewinds > 0 {
			t.Logf("%s: %d rewinds", f.name, f.rewinds)
		}
	}
	if res.acknowledged == 0 {
		t.Error("nothing was acknowledged")
	}
	return res, r.counts
}

// parseSeeds reads 1,2,10-20.
func parseSeeds(list string) (seeds []uint64, err error) {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 64)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("seeds %q: %w", list, err)
		}
		for n := first; n <= last; n++ {
			seeds = append(seeds, n)
		}
	}
	return seeds, nil
}

// table of results, and of the faults that they had.
func table(results []result, counts map[kind]int) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "seed\trequests\tretried\trepeated\tacknowledged\tlost\tduplicated\tforeign\tout of order\tprinted again\tin two logs\tfiles\ttime\t")
	var sum result
	for _, r := range results {
		r.row(w, fmt.Sprint(r.seed))
		sum.requests += r.requests
		sum.retries += r.retries
		sum.late += r.late
		sum.acknowledged += r.acknowledged
		sum.lost += r.lost
		sum.duplicated += r.duplicated
		sum.foreign += r.foreign
		sum.disordered += r.disordered
		sum.again += r.again
		sum.twice += r.twice
		sum.files += r.files
		sum.lasted += r.lasted
	}
	if len(results) > 1 {
		sum.row(w, "all")
	}
	_ = w.Flush()
	b.WriteString("faults:")
	total := 0
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, " %s %d,", k, counts[k])
		total += counts[k]
	}
	fmt.Fprintf(&b, " all %d", total)
	return b.String()
}

func (r *result) row(w *tabwriter.Writer, name string) {
	_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", name, r.requests, r.retries, r.late,
		r.acknowledged, r.lost, r.duplicated, r.foreign, r.disordered, r.again, r.twice, r.files, r.lasted.Round(time.Second))
}
