package cli

import (
	"context"
	"errors"
	"text/template"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/clients/cli/output"
	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/usage"
)

const getHelp = `Print the latest sample of each series, or what --since, --cursor and --follow ask for.

Outputs:
  text         name{labels} value timestamp (ms), in the text exposition format, with HELP and TYPE before the first sample of a family. Stale markers (StaleNaN), native histograms ({count:…}) and exemplars (# {labels} value timestamp), which the format does not have, are lines that start with "# ". Start timestamps are left out.
  table        the latest sample of each series, sorted, at the end. With --watch it is updated in place. Nothing else is shown.
  json         an object a line: metric, timestamp (ms), value (a string) or histogram with its buckets, as in Prometheus' HTTP API; stale: true for a stale marker. Exemplars are objects too.
  openmetrics  OpenMetrics 1.0. Without --follow everything is held back and sorted. Native histograms get classic buckets, start timestamps become _created of counters, histograms and summaries, and an exemplar is attached to the first sample that is not older. Left out are stale markers, series without a name, start timestamps of other kinds, exemplars of other samples than counters and buckets, beyond one a sample, or longer than 128 characters, and sums of native histograms with negative observations.
  csv          RFC 4180, columns timestamp (ms), value, name, labels. Exemplars and start timestamps are left out.
  proto        promgrpc.metrics.v1.TimeSeries messages, each preceded by its length as a varint. It alone keeps every bit: the others write any NaN as NaN, and only the buckets of a native histogram.

What text, openmetrics and csv left out is counted on standard error at the end. HELP and TYPE are those that the server knew at the start.

A --template is Go's text/template, applied to each sample: {{.Series}} {{.Name}} {{.Labels.job}} {{.Value}} {{.Number}} {{.Timestamp}} (ms) {{.Time}} (UTC) {{.Stale}} {{.Histogram}}; functions {{json .Labels}} and {{date "15:04:05" .Time}}. Exemplars and start timestamps are not available.`

// get is the command that streams.
type get struct {
	connection    *connection
	selectors     []string
	follow        bool
	since         string
	cursor        string
	cursorPath    string
	minInterval   time.Duration
	heartbeat     time.Duration
	maxReconnects int
	format        string
	csvHeader     bool
	template      string
	parsed        *template.Template
	watch         bool
	progress      string
	events        bool
	limit         int
	given         given
}

func registerGet(app *kingpin.Application, c *connection) (string, func(context.Context, environment) error) {
	g := &get{connection: c, given: given{}}
	cmd := app.Command("get", getHelp).PreAction(g.given.note)
	cmd.Arg("selector", `PromQL series selectors, such as 'up{job="node"}'. A series is printed if any matches; none means all.`).
		HintAction(metricNames).StringsVar(&g.selectors)
	c.register(cmd)
	option(cmd, "follow", "Go on with new samples as they arrive, and reconnect when a connection is lost.").Short('f').BoolVar(&g.follow)
	option(cmd, "since", "Replay the stored samples from this time on: a duration before now (10m, 1d), RFC 3339, milliseconds since 1970 (a whole number), or seconds (with a decimal point).").PlaceHolder("TIME").StringVar(&g.since)
	option(cmd, "cursor", "Resume right after this cursor.").StringVar(&g.cursor)
	option(cmd, "cursor-file", "Resume after the cursor in this file, if it has one, and keep the cursor of what was printed there: a line with the cursor, a space and its CRC-32C. Only one run at a time may use it.").PlaceHolder("FILE").StringVar(&g.cursorPath)
	option(cmd, "min-interval", "With --follow: print each series at most this often, its last sample each time.").Default("0s").DurationVar(&g.minInterval)
	option(cmd, "heartbeat", "With --follow: heartbeat interval. A server that is silent for three times as long is given up for the next one.").Default("10s").DurationVar(&g.heartbeat)
	option(cmd, "max-reconnects", "Give up after this many lost connections in a row. -1 means never while following.").Default("-1").IntVar(&g.maxReconnects)
	registerFormat(cmd, "Format: text, table, json, openmetrics, csv or proto.", &g.format, output.Formats...)
	registerCSV(cmd, &g.csvHeader)
	option(cmd, "template", "Print one line a sample by this template instead of --output.").PlaceHolder("TEMPLATE").StringVar(&g.template)
	option(cmd, "watch", "Follow, and show a table of the latest samples in place. Needs a terminal.").Short('w').BoolVar(&g.watch)
	option(cmd, "progress", "Show on standard error how far a replay has come: always, never, or if standard error is a terminal and the output is not (auto).").
		Default("auto").EnumVar(&g.progress, "auto", "always", "never")
	option(cmd, "events", "With --output json: print synced, gap, heartbeat, rewound and end as objects too.").BoolVar(&g.events)
	option(cmd, "limit", "End after this many samples. 0 means no limit.").Default("0").IntVar(&g.limit)
	return cmd.FullCommand(), g.run
}

// ignoreUnused drops flags of the environment that this call has no use for: they
// are meant for other calls.
func (g *get) ignoreUnused() {
	g.follow = g.follow || g.watch
	if !g.given["template"] && (g.given["output"] || g.watch) {
		g.template = ""
	}
	if !g.given["output"] && g.template != "" {
		g.format = "text"
	}
	if !g.given["events"] && g.format != "json" {
		g.events = false
	}
	if !g.given["min-interval"] && !g.follow {
		g.minInterval = 0
	}
}

func (g *get) run(ctx context.Context, env environment) error {
	file, selection, err := g.selection(env)
	if err != nil {
		return err
	}
	defer file.close()
	ctx, stop := output.WhileRead(ctx, env.output)
	defer stop()
	var live *output.LiveTable
	if g.watch {
		live = output.NewLiveTable(env.screen, env.size, env.colour)
		defer live.Stop()
		env.stderr = live // the table would overwrite messages
	}
	var progress *output.Progress
	if g.showsProgress(env) {
		progress = output.NewProgress(env.messages, selection.Since)
		env = env.withMessages(progress) // they would overwrite its line
	}
	client, err := g.connection.open(ctx, env, promgrpc.Options{
		Logger: newLogger(env.stderr), FailFast: true, MaxReconnects: g.reconnects(),
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := g.connection.bounded(ctx)
	defer cancel()

	p := &printer{
		env: env, file: file, limit: g.limit, progress: progress,
		eager:    g.follow || env.terminal,
		heldBack: g.format == "openmetrics" && !g.follow || g.format == "table",
	}
	if live != nil {
		p.output = live
	} else {
		p.output = g.newOutput(ctx, client, env)
	}
	err = p.print(client.Get(ctx, selection))
	if g.follow && (errors.Is(err, errInterrupted) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil) {
		err = nil
	}
	return p.finish(err)
}

func (g *get) showsProgress(env environment) bool {
	switch {
	case g.watch: // the table shows it
		return false
	case g.progress == "auto":
		return !g.follow && env.messagesTerminal && !env.terminal
	}
	return g.progress == "always"
}

func (g *get) reconnects() int {
	if g.maxReconnects == 0 {
		return -1 // none at all
	}
	return max(g.maxReconnects, 0)
}

func (g *get) newOutput(ctx context.Context, client *promgrpc.Client, env environment) output.Output {
	return output.New(g.format, env.stdout, output.Options{
		Terminal: env.terminal, Colour: env.colour, Events: g.events, Headless: !g.csvHeader,
		Ordered: !g.follow, Metadata: g.metadata(ctx, client, env), Template: g.parsed,
	})
}

func (g *get) selection(env environment) (*cursorFile, promgrpc.Selection, error) {
	g.ignoreUnused()
	s := promgrpc.Selection{Selectors: g.selectors, Follow: g.follow, Cursor: g.cursor}
	switch {
	case g.template != "" && g.given["output"]:
		return nil, s, usage.Errorf("--template and --output exclude each other")
	case g.template != "" && g.watch:
		return nil, s, usage.Errorf("--template and --watch exclude each other")
	case g.watch && !env.terminal:
		return nil, s, usage.Errorf("--watch needs a terminal: for a pipe or a file use --follow")
	case g.watch && g.cursorPath != "":
		return nil, s, usage.Errorf("--watch and --cursor-file exclude each other: a table is not kept")
	case g.cursor != "" && !isCursor(g.cursor):
		return nil, s, usage.Errorf("--cursor: want what a server gave, without spaces")
	case g.cursor != "" && g.since != "":
		return nil, s, usage.Errorf("--cursor and --since exclude each other")
	case g.cursor != "" && g.cursorPath != "":
		return nil, s, usage.Errorf("--cursor and --cursor-file exclude each other")
	case g.limit > 0 && g.cursorPath != "":
		return nil, s, usage.Errorf("--limit and --cursor-file exclude each other: a limit may end between two cursors")
	case g.limit < 0:
		return nil, s, usage.Errorf("--limit must not be negative")
	case g.events && g.format != "json":
		return nil, s, usage.Errorf("--events needs --output json")
	case g.given["csv-header"] && g.format != "csv":
		return nil, s, usage.Errorf("--csv-header needs --output csv")
	case g.minInterval > 0 && !g.follow:
		return nil, s, usage.Errorf("--min-interval needs --follow")
	case g.minInterval < 0 || g.heartbeat < 0:
		return nil, s, usage.Errorf("an interval must not be negative")
	}
	if g.follow {
		s.MinInterval, s.HeartbeatInterval = g.minInterval, g.heartbeat
	}
	if g.template != "" {
		var err error
		if g.parsed, err = output.ParseTemplate(g.template); err != nil {
			return nil, s, usage.Errorf("%w", err)
		}
	}
	if g.since != "" {
		since, err := parseSince(g.since, time.Now())
		if err != nil {
			return nil, s, usage.Errorf("--since: %w", err)
		}
		if likeSeconds(g.since) {
			warn(env, "--since %s is %s: seconds have a decimal point", g.since, since.UTC().Format(time.RFC3339))
		}
		s.Since = &since
	}
	file, err := openCursorFile(g.cursorPath, env.output)
	if err != nil {
		return nil, s, err
	}
	if file.cursor != "" {
		s.Cursor, s.Since = file.cursor, nil
	}
	return file, s, nil
}

// metadata fetches what text and openmetrics print about families. They work
// without.
func (g *get) metadata(ctx context.Context, client *promgrpc.Client, env environment) output.Metadata {
	if g.parsed != nil || g.format != "text" && g.format != "openmetrics" {
		return nil
	}
	res, err := client.GetMetadata(ctx, &metricsv1.GetMetadataRequest{Limit: maxLimit})
	if err != nil {
		// If no server can be reached, the stream's own error says so.
		if ctx.Err() == nil && !isUnreachable(err) {
			warn(env, "no metadata: %v", err)
		}
		return nil
	}
	if res.GetTruncated() {
		warn(env, "metadata of the first %d families only", len(res.GetMetadata()))
	}
	return output.NewMetadata(res.GetMetadata())
}

func isUnreachable(err error) bool {
	var u *promgrpc.UnreachableError
	return errors.As(err, &u)
}
