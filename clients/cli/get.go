package cli

import (
	"context"
	"errors"
	"iter"
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

// get is the command that streams series.
type get struct {
	streaming
	selectors   []string
	minInterval time.Duration
}

func registerGet(app *kingpin.Application, c *connection) (string, func(context.Context, environment) error) {
	g := &get{streaming: streaming{connection: c, given: given{}}}
	cmd := app.Command("get", getHelp).PreAction(g.given.note)
	cmd.Arg("selector", `PromQL series selectors, such as 'up{job="node"}'. A series is printed if any matches; none means all.`).
		HintAction(metricNames).StringsVar(&g.selectors)
	g.register(cmd)
	option(cmd, "follow", "Go on with new samples as they arrive, and reconnect when a connection is lost.").Short('f').BoolVar(&g.follow)
	option(cmd, "since", "Replay the stored samples from this time on: a duration before now (10m, 1d), RFC 3339, milliseconds since 1970 (a whole number), or seconds (with a decimal point).").PlaceHolder("TIME").StringVar(&g.since)
	option(cmd, "min-interval", "With --follow: print each series at most this often, its last sample each time.").Default("0s").DurationVar(&g.minInterval)
	registerFormat(cmd, "Format: text, table, json, openmetrics, csv or proto.", &g.format, output.Formats...)
	option(cmd, "watch", "Follow, and show a table of the latest samples in place. Needs a terminal.").Short('w').BoolVar(&g.watch)
	option(cmd, "events", "With --output json: print synced, gap, away, heartbeat, rewound and end as objects too.").BoolVar(&g.events)
	return cmd.FullCommand(), g.run
}

func (g *get) run(ctx context.Context, env environment) error {
	file, selection, err := g.selection(env)
	if err != nil {
		return err
	}
	return g.stream(ctx, env, source{
		file: file, since: selection.Since,
		live: func(env environment) *output.Live {
			if !g.watch {
				return nil
			}
			return output.NewLiveTable(env.screen, env.size, env.colour, true)
		},
		output: func(ctx context.Context, client *promgrpc.Client, env environment) output.Output {
			o := g.options(env)
			o.Metadata = g.metadata(ctx, client, env)
			return output.New(g.format, env.stdout, o)
		},
		heldBack: g.format == "openmetrics" && !g.follow || g.format == "table",
		parts: func(ctx context.Context, client *promgrpc.Client) iter.Seq2[part, error] {
			return partsOfUpdates(client.Get(ctx, selection))
		},
	})
}

func (g *get) selection(env environment) (*cursorFile, promgrpc.Selection, error) {
	g.ignoreUnused()
	if !g.given["min-interval"] && !g.follow {
		g.minInterval = 0
	}
	s := promgrpc.Selection{Selectors: g.selectors, Follow: g.follow, WhenAway: whenAway(g.whenAway)}
	if err := g.check(env); err != nil {
		return nil, s, err
	}
	switch {
	case g.minInterval > 0 && !g.follow:
		return nil, s, usage.Errorf("--min-interval needs --follow")
	case g.minInterval < 0:
		return nil, s, usage.Errorf("an interval must not be negative")
	}
	if g.follow {
		s.MinInterval, s.HeartbeatInterval = g.minInterval, g.heartbeat
	}
	file, cursor, since, err := g.start(env)
	s.Cursor, s.Since = cursor, since
	return file, s, err
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
