package cli

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/clients/cli/output"
	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/internal/usage"
)

const queryHelp = `Print what a PromQL expression comes to: at the latest step, or at all those that --since, --cursor, --end and --follow ask for.

A step is a whole multiple of --step since 1970. It is evaluated with what had arrived --delay after it, by the forwarders' own clocks, so that every server comes to the same result: with --follow and --cursor-file each step is printed exactly once, whichever server evaluates it, but for a crash.

Outputs are those of get, and:
  chart        lines over time, at the end. With --follow on a terminal, or with --watch, in place. Without colours, lines are letters. NaN, infinite values and times without a value are gaps; native histograms are left out. Needs --since, a cursor or --follow.

A series that has no value any more gets a stale marker. What the engine has to say about the expression is on standard error, once.

  prometheus-grpc-client query 'sum by (job) (rate(http_requests_total[5m]))' --since 1h --output chart
  prometheus-grpc-client query 'up == 0' --follow --on-change`

// query is the command that evaluates an expression.
type query struct {
	streaming
	expression            string
	end                   string
	step, delay, lookback time.Duration
	onChange              bool
}

func registerQuery(app *kingpin.Application, c *connection) (string, func(context.Context, environment) error) {
	q := &query{streaming: streaming{connection: c, given: given{}}}
	cmd := app.Command("query", queryHelp).PreAction(q.given.note)
	cmd.Arg("expression", "A PromQL expression, whose result is an instant vector or a scalar.").
		Required().HintAction(metricNames).StringVar(&q.expression)
	q.register(cmd)
	option(cmd, "follow", "Go on with each step as it becomes due, and reconnect when a connection is lost.").Short('f').BoolVar(&q.follow)
	option(cmd, "since", "Start with the first step at this time or later: a duration before now (10m, 1d), RFC 3339, milliseconds since 1970 (a whole number), or seconds (with a decimal point).").PlaceHolder("TIME").StringVar(&q.since)
	option(cmd, "end", "End with the last step at this time or earlier, in the forms of --since.").PlaceHolder("TIME").StringVar(&q.end)
	option(cmd, "step", "Time between two steps.").Default("15s").DurationVar(&q.step)
	option(cmd, "delay", "How long samples may take to arrive. What comes later is left out, and counted on standard error at the end.").Default("10s").DurationVar(&q.delay)
	option(cmd, "lookback", "How old a sample may be to count as the value of its series. 0 means what the server has.").Default("0s").DurationVar(&q.lookback)
	option(cmd, "on-change", "Print of each step only the series whose value differs from that of the step before.").BoolVar(&q.onChange)
	registerFormat(cmd, "Format: text, table, json, openmetrics, csv, proto or chart.", &q.format, append(slices.Clone(output.Formats), output.FormatChart)...)
	option(cmd, "watch", "Follow, and show a table of the latest values in place, or a chart. Needs a terminal.").Short('w').BoolVar(&q.watch)
	option(cmd, "events", "With --output json: print synced, away, heartbeat and end as objects too, and evaluated with what is known of the steps.").BoolVar(&q.events)
	return cmd.FullCommand(), q.run
}

func (q *query) run(ctx context.Context, env environment) error {
	file, question, err := q.question(env)
	if err != nil {
		return err
	}
	err = q.stream(ctx, env, source{
		file: file, since: question.Since,
		live: func(env environment) *output.Live { return q.live(env, question) },
		output: func(_ context.Context, _ *promgrpc.Client, env environment) output.Output {
			return q.output(env, question)
		},
		heldBack: q.format == "openmetrics" && !q.follow || q.format == "table" || q.chart(),
		parts: func(ctx context.Context, client *promgrpc.Client) iter.Seq2[part, error] {
			return partsOfSteps(client.Query(ctx, question))
		},
	})
	var wrong *promgrpc.ExpressionError
	if errors.As(err, &wrong) {
		return &misplacedError{expression: q.expression, err: wrong}
	}
	return err
}

func (q *query) chart() bool { return q.format == output.FormatChart }

// question returns what is asked, and the file that keeps the cursor.
func (q *query) question(env environment) (*cursorFile, promgrpc.Query, error) {
	q.ignoreUnused()
	asked := promgrpc.Query{
		Expression: q.expression, Step: q.step, Follow: q.follow, Delay: &q.delay, Lookback: q.lookback, OnChange: q.onChange,
		WhenAway: whenAway(q.whenAway),
	}
	if err := q.check(env); err != nil {
		return nil, asked, err
	}
	switch {
	case q.step <= 0 || q.delay < 0 || q.lookback < 0:
		return nil, asked, usage.Errorf("--step must be positive, --delay and --lookback must not be negative")
	case q.chart() && q.cursorPath != "":
		return nil, asked, usage.Errorf("--output chart and --cursor-file exclude each other: a chart is not kept")
	case q.chart() && !q.follow && q.since == "" && q.cursor == "":
		return nil, asked, usage.Errorf("--output chart needs --since or --follow: one step is no line")
	}
	if q.follow {
		asked.HeartbeatInterval = q.heartbeat
	}
	if q.end != "" {
		end, err := parseTime(env, "--end", q.end)
		if err != nil {
			return nil, asked, err
		}
		asked.End = &end
	}
	file, cursor, since, err := q.start(env)
	asked.Cursor, asked.Since = cursor, since
	return file, asked, err
}

// live returns what shows the query in place, nil if nothing does.
func (q *query) live(env environment, asked promgrpc.Query) *output.Live {
	switch {
	case q.chart() && q.follow && env.terminal:
		return output.NewLiveChart(env.screen, q.chartOptions(env, asked))
	case q.watch:
		return output.NewLiveTable(env.screen, env.size, env.colour, false)
	}
	return nil
}

func (q *query) output(env environment, asked promgrpc.Query) output.Output {
	if q.chart() {
		return output.NewChart(env.stdout, q.chartOptions(env, asked))
	}
	return output.New(q.format, env.stdout, q.options(env))
}

// chartSteps is how many steps a chart has that follows from the present on.
const chartSteps = 240

func (q *query) chartOptions(env environment, asked promgrpc.Query) output.ChartOptions {
	o := output.ChartOptions{
		Step: asked.Step, Held: asked.OnChange, Colour: env.colour, Unicode: env.unicode, Size: env.size,
	}
	switch {
	case q.follow && asked.Since != nil:
		o.Span = max(asked.Step, time.Since(*asked.Since))
	case q.follow:
		o.Span = chartSteps * asked.Step
	}
	return o
}

// partsOfSteps returns what is printed of a Query.
func partsOfSteps(steps iter.Seq2[promgrpc.Steps, error]) iter.Seq2[part, error] {
	return func(yield func(part, error) bool) {
		for s, err := range steps {
			if err != nil {
				yield(part{}, err)
				return
			}
			if !yield(part{s.GetTimeseries(), output.EventOfQuery(s.QueryResponse)}, nil) {
				return
			}
		}
	}
}
