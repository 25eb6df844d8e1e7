// Command bench runs the project and the peers that are installed through the
// same work, in turn, and writes what it took them. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/promgrpc/exporter/bench/bound"
	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/probe"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
)

// config of a run.
type config struct {
	series      []int
	samples     int
	perRequest  int
	connections int
	rate        float64
	churn       float64
	repeat      int
	reads       int
	live        time.Duration
	hour        bool
	systems     *regexp.Regexp
	out         string
	options     subject.Options
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == bound.Command {
		fmt.Fprintln(os.Stderr, bound.Main(os.Args[2], os.Args[3], os.Args[4])) // until it is stopped
		os.Exit(1)
	}
	c, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{config: c, logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if err := b.run(ctx); err != nil {
		b.logger.Error("benchmark ended", "error", err)
		stop()
		os.Exit(1)
	}
}

func parse() (config, error) {
	c := config{options: subject.Options{}}
	series := flag.String("series", "100000,1000000", "numbers of series to measure at")
	systems := flag.String("systems", ".", "measure the systems that match this expression")
	flag.IntVar(&c.samples, "samples", 6_000_000, "samples of the steady run; it has four rounds at least")
	flag.IntVar(&c.perRequest, "per-request", 2000, "series a request")
	flag.IntVar(&c.connections, "connections", 4, "requests under way at a time")
	flag.Float64Var(&c.rate, "rate", 0, "requests a second, 0 for as fast as they are taken")
	flag.Float64Var(&c.churn, "churn", 0, "share of the targets that are replaced from one round to the next")
	flag.IntVar(&c.repeat, "repeat", 3, "how often to measure each system, by turns")
	flag.IntVar(&c.reads, "reads", 3, "how often to measure each way of reading in one repetition")
	flag.DurationVar(&c.live, "live", 10*time.Second, "how long to follow; 0 leaves it out")
	flag.BoolVar(&c.hour, "hour", true, "measure the disk that an hour at 15 s takes up")
	flag.StringVar(&c.out, "out", "bench/results", "folder for the results")
	flag.StringVar(&c.options.Bin, "bin", "bin", "folder of the project's binaries")
	flag.StringVar(&c.options.Tools, "tools", ".tools", "folder of the peers")
	flag.StringVar(&c.options.Dir, "dir", "", "folder for data, on the disk that is to be measured (default: that for temporary files)")
	flag.Parse()
	if flag.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	for text := range strings.SplitSeq(*series, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return c, fmt.Errorf("--series: %w", err)
		}
		c.series = append(c.series, n)
	}
	var errs [3]error
	// The processes work in folders of their own.
	c.options.Bin, errs[0] = filepath.Abs(c.options.Bin)
	c.options.Tools, errs[1] = filepath.Abs(c.options.Tools)
	c.systems, errs[2] = regexp.Compile(*systems)
	return c, errors.Join(errs[:]...)
}

// bench is a run.
type bench struct {
	config
	logger *slog.Logger
	result report.Result
	others []float64 // share of the machine that others used, by measurement
}

func (b *bench) run(ctx context.Context) error {
	b.result = report.Result{
		Began: time.Now(), Machine: probe.ThisMachine(), Parameters: b.parameters(), Versions: map[string]string{},
	}
	kinds := b.kinds()
	for _, k := range kinds {
		b.result.Versions[k.Name] = k.Version
	}
	main := slices.IndexFunc(kinds, func(k subject.Kind) bool { return k.Name == report.Project })
	for _, series := range b.series {
		for repetition := range b.repeat {
			b.logger.Info("measure", "series", series, "repetition", repetition+1)
			for _, k := range kinds {
				if err := b.measure(ctx, k, series); err != nil {
					return fmt.Errorf("%s with %d series: %w", k.Name, series, err)
				}
			}
			if main < 0 { // nothing to hold against the floors
				continue
			}
			for i, system := range []string{report.Bound, report.BoundTwo} {
				if err := b.bound(ctx, system, i+1, series); err != nil {
					return fmt.Errorf("%s with %d series: %w", system, series, err)
				}
			}
		}
	}
	if main >= 0 {
		if err := b.extras(ctx, kinds[main]); err != nil {
			return err
		}
	}
	if err := b.save(); err != nil {
		return err
	}
	_, err := os.Stdout.Write(b.result.Markdown())
	return err
}

// save writes what was measured so far, should the rest fail.
func (b *bench) save() error {
	for _, series := range b.series {
		b.marginal(series)
	}
	b.judge()
	return b.result.Write(b.out)
}

// kinds of systems to measure.
func (b *bench) kinds() []subject.Kind {
	version := subject.Version(filepath.Join(b.options.Bin, "metrics-forwarder"))
	all := []subject.Kind{
		subject.Project(report.Project, 2, 1, version),
		subject.Project(report.ProjectTwo, 2, 2, version),
		subject.Project(report.ProjectOne, 1, 1, version),
		subject.Project(report.ProjectThree, 3, 1, version),
	}
	all = append(all, subject.Peers(b.options.Tools)...)
	return slices.DeleteFunc(all, func(k subject.Kind) bool { return !b.systems.MatchString(k.Name) })
}

// plan of the rounds that a size is measured with: one of new series, and the
// steady ones.
func (b *bench) plan(series, write int) load.Plan {
	return load.Plan{
		Series: series, Rounds: 1 + max(4, b.samples/series), PerRequest: b.perRequest, Version: write,
		Interval: 15 * time.Second, Churn: b.churn, Last: time.Now(),
	}
}

func (b *bench) parameters() map[string]string {
	rate := "as fast as they are taken"
	if b.rate > 0 {
		rate = fmt.Sprintf("%g requests/s", b.rate)
	}
	var rounds []string
	for _, series := range b.series {
		rounds = append(rounds, fmt.Sprintf("%d at %d series", b.plan(series, 1).Rounds-1, series))
	}
	return map[string]string{
		"series a request":           strconv.Itoa(b.perRequest),
		"connections":                strconv.Itoa(b.connections),
		"rate":                       rate,
		"churn":                      fmt.Sprintf("%g of the targets from one round to the next", b.churn),
		"rounds":                     "1 of new series, then " + strings.Join(rounds, ", "),
		"repetitions":                strconv.Itoa(b.repeat),
		"reads":                      fmt.Sprintf("%d times each way and repetition, for %s of CPU time at least", b.reads, enough),
		"time of a live measurement": b.live.String(),
		"the project's log":          "durable before a request is answered; all flags have their defaults",
		"the peers":                  "do not force to disk before they answer",
	}
}

// marginal compares the repetitions with three servers with those with two.
func (b *bench) marginal(series int) {
	two := b.result.Find(series, report.Project, report.Steady)
	three := b.result.Find(series, report.ProjectThree, report.Steady)
	if two == nil || three == nil {
		return
	}
	done := 0
	if third := b.result.Find(series, report.ProjectThree, report.Third); third != nil {
		done = len(third.Values)
	}
	for i := done; i < min(len(two.Values), len(three.Values)); i++ {
		b.result.Add(series, report.ProjectThree, report.Third, "%", 100*(two.Values[i]/three.Values[i]-1))
	}
}

// judge notes what else ran.
func (b *bench) judge() {
	if len(b.others) == 0 {
		return
	}
	sum := 0.0
	for _, share := range b.others {
		sum += share
	}
	mean, most := 100*sum/float64(len(b.others)), 100*slices.Max(b.others)
	const quiet = 5
	note := fmt.Sprintf("Other programs used %.0f %% of the machine on average while this was measured, and %.0f %% at most.", mean, most)
	if mean > quiet {
		note += " Figures by elapsed time are worth little, and CPU times are higher than on a quiet machine."
	}
	b.result.Notes = []string{note}
}
