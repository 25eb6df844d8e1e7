// Command bench runs the project and the installed peers through the same work, in
// turn, and reports what each used. See README.md.
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
	profile     *load.Profile
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
	only        string
	systems     *regexp.Regexp
	out         string
	options     subject.Options
}

func main() {
	if len(os.Args) == 6 && os.Args[1] == bound.Command {
		fmt.Fprintln(os.Stderr, bound.Main(os.Args[2], os.Args[3], os.Args[4], os.Args[5])) // until it is stopped
		os.Exit(1)
	}
	if len(os.Args) > 4 && os.Args[1] == bound.PassCommand {
		fmt.Fprintln(os.Stderr, bound.Pass(os.Args[2], os.Args[3], os.Args[4:]))
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
	profile := flag.String("profile", load.Synthetic.Name, "data to send: the name of a profile")
	series := flag.String("series", "100000,1000000", "numbers of series to measure at")
	flag.StringVar(&c.only, "only", "", "leave out all but this: queries")
	systems := flag.String("systems", ".", "measure the systems that match this expression")
	flag.IntVar(&c.samples, "samples", 6_000_000, "samples of the steady run; it has four rounds at least")
	flag.IntVar(&c.perRequest, "per-request", 2000, "series a request")
	flag.IntVar(&c.connections, "connections", 4, "requests in flight at a time")
	flag.Float64Var(&c.rate, "rate", 0, "requests a second, 0 for as many as the system accepts")
	flag.Float64Var(&c.churn, "churn", -1, "share of the targets that are replaced from one round to the next; below 0: the profile's")
	flag.IntVar(&c.repeat, "repeat", 5, "how often to measure each system, in turn; the project's variants three times at most")
	flag.IntVar(&c.reads, "reads", 3, "how often to measure each way of reading in one repetition")
	flag.DurationVar(&c.live, "live", 10*time.Second, "how long to follow; 0 leaves it out")
	flag.BoolVar(&c.hour, "hour", true, "measure the disk usage of an hour at 15 s")
	flag.StringVar(&c.out, "out", "bench/results", "folder for the results, in which each profile has its own")
	flag.StringVar(&c.options.Bin, "bin", "bin", "folder of the project's binaries")
	flag.StringVar(&c.options.Tools, "tools", ".tools", "folder of the peers")
	flag.StringVar(&c.options.Dir, "dir", "", "folder for data, on the disk to be measured (default: the folder for temporary files)")
	inShort := flag.Bool("short", false, "measure the floors and the peers that have a target alone, in ten minutes: "+
		"other defaults for series, samples, reads, live, hour and systems")
	flag.Parse()
	if flag.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if *inShort {
		if err := shorten(flag.CommandLine); err != nil {
			return c, err
		}
	}
	for text := range strings.SplitSeq(*series, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return c, fmt.Errorf("--series: %w", err)
		}
		c.series = append(c.series, n)
	}
	if c.only != "" && c.only != report.Queries {
		return c, fmt.Errorf("--only: %q is not known, %s is", c.only, report.Queries)
	}
	if c.only == report.Queries && *profile != load.Synthetic.Name {
		return c, fmt.Errorf("--only=%s: the queries are of the profile %s, not %s", report.Queries, load.Synthetic.Name, *profile)
	}
	var errs [4]error
	// Absolute, since each process has its own working directory.
	c.options.Bin, errs[0] = filepath.Abs(c.options.Bin)
	c.options.Tools, errs[1] = filepath.Abs(c.options.Tools)
	c.systems, errs[2] = regexp.Compile(*systems)
	c.profile, errs[3] = load.Find(*profile)
	if c.churn < 0 && c.profile != nil {
		c.churn = c.profile.Churn
	}
	c.out = filepath.Join(c.out, *profile)
	return c, errors.Join(errs[:]...)
}

// shorten gives the flags that are not given the values of a short run.
func shorten(flags *flag.FlagSet) error {
	values := map[string]string{
		"series": "100000", "samples": "3000000", "reads": "1", "live": "0", "hour": "false",
		"systems": "^(" + strings.Join([]string{report.Project, report.ProjectTwo, regexp.QuoteMeta(report.VMAgent), report.Thanos}, "|") + ")$",
	}
	flags.Visit(func(f *flag.Flag) { delete(values, f.Name) })
	for name, value := range values {
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("--short: %w", err)
		}
	}
	return nil
}

// bench is a run.
type bench struct {
	config
	logger *slog.Logger
	result report.Result
}

func (b *bench) run(ctx context.Context) error {
	b.result = report.Result{
		Began: time.Now(), Machine: probe.ThisMachine(), Parameters: parameters(), Versions: map[string]string{},
	}
	kinds := b.kinds()
	if b.only == report.Queries {
		kinds = b.readers()
	}
	for _, k := range kinds {
		b.result.Versions[k.Name] = k.Version
	}
	if b.only == report.Queries {
		if err := b.queries(ctx); err != nil {
			return err
		}
		_, err := os.Stdout.Write(b.result.Markdown())
		return err
	}
	return b.all(ctx, kinds)
}

// all measures everything but queries.
func (b *bench) all(ctx context.Context, kinds []subject.Kind) error {
	main := find(kinds, report.Project)
	for _, series := range b.series {
		for repetition := range b.repeat {
			b.logger.Info("measure", "series", series, "repetition", repetition+1)
			for _, k := range kinds {
				if repetition >= variantRepeat && isVariant(k) {
					continue
				}
				if err := b.measure(ctx, k, series); err != nil {
					return fmt.Errorf("%s with %d series: %w", k.Name, series, err)
				}
			}
			if main >= 0 { // what is to be held against the floors
				for i, system := range []string{report.Bound, report.BoundTwo} {
					if err := b.bound(ctx, system, i+1, series); err != nil {
						return fmt.Errorf("%s with %d series: %w", system, series, err)
					}
				}
			}
			if err := b.result.Write(b.out, report.All); err != nil { // what there is so far, should the rest fail
				return err
			}
		}
	}
	if main >= 0 {
		if err := b.extras(ctx, kinds[main]); err != nil {
			return err
		}
	}
	if err := b.router(ctx); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	if acknowledged := find(kinds, report.ProjectAck); acknowledged >= 0 && b.live > 0 {
		if err := b.answerTimes(ctx, kinds[acknowledged]); err != nil {
			return fmt.Errorf("answers: %w", err)
		}
	}
	if secured := find(kinds, report.ProjectTLS); secured >= 0 && b.live > 0 {
		if err := b.followers(ctx, kinds[secured], true); err != nil {
			return fmt.Errorf("followers: %w", err)
		}
	}
	if err := b.result.Write(b.out, report.All); err != nil {
		return err
	}
	_, err := os.Stdout.Write(b.result.Markdown())
	return err
}

// variantRepeat is how often the project's variants are measured at most: what they take
// more or less is compared within a repetition.
const variantRepeat = 3

// isVariant reports whether a system is the project in a form that has no floor of its own.
func isVariant(k subject.Kind) bool {
	return k.Project && k.Name != report.Project && k.Name != report.ProjectTwo
}

// find returns the index of a kind, below zero if it is not measured.
func find(kinds []subject.Kind, name string) int {
	return slices.IndexFunc(kinds, func(k subject.Kind) bool { return k.Name == name })
}

// kinds of systems to measure.
func (b *bench) kinds() []subject.Kind {
	version := b.version()
	all := []subject.Kind{
		subject.Project(report.Project, 2, 1, version),
		subject.Project(report.ProjectTwo, 2, 2, version),
		subject.Project(report.ProjectOne, 1, 1, version),
		subject.Project(report.ProjectThree, 3, 1, version),
		subject.Acknowledged(report.ProjectAck, version),
		subject.Secured(report.ProjectTLS, version),
		subject.Grouped(report.ProjectTwoGroups, 2, "labels: [instance]", version),
		subject.Grouped(report.ProjectFourGroups, 4, "labels: [instance]", version),
		subject.Grouped(report.ProjectSenders, 4, "sender: true", version),
	}
	all = append(all, subject.Peers(b.options.Tools)...)
	return b.chosen(all)
}

// chosen are the kinds that are to be measured.
func (b *bench) chosen(kinds []subject.Kind) []subject.Kind {
	return slices.DeleteFunc(kinds, func(k subject.Kind) bool { return !b.systems.MatchString(k.Name) })
}

// version of the project's programs.
func (b *bench) version() string {
	return subject.Version(filepath.Join(b.options.Bin, "metrics-forwarder"))
}

// plan of a size: one round of new series, then the steady rounds.
func (b *bench) plan(series, write int) load.Plan {
	return load.Plan{
		Profile: b.profile, Series: series, Rounds: 1 + max(4, b.samples/series), PerRequest: b.perRequest, Version: write,
		Interval: 15 * time.Second, Churn: b.churn, Last: time.Now(),
	}
}

// parameters are the flags, except those that name folders.
func parameters() map[string]string {
	all := map[string]string{}
	flag.VisitAll(func(f *flag.Flag) {
		if !slices.Contains([]string{"out", "bin", "tools", "dir"}, f.Name) {
			all["--"+f.Name] = f.Value.String() + ": " + f.Usage
		}
	})
	return all
}
