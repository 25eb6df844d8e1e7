package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/promgrpc/exporter/clients/cli/output"
	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// maxLimit is the most that a call returns.
const maxLimit = 100000

// call is a command that makes one call and prints the answer as text or as JSON,
// an object a line.
type call struct {
	connection *connection
	format     string
}

func (c *call) register(cmd clause) {
	c.connection.register(cmd)
	registerFormat(cmd, "Format: text, or json with an object a line.", &c.format, "text", "json")
}

// runCall prints the rows that ask returns. The fields of Row are those of the JSON
// objects; cells returns the columns of the text.
func runCall[Row any](ctx context.Context, env environment, c *call, heading string,
	ask func(context.Context, *promgrpc.Client) ([]Row, bool, error), cells func(Row) []string,
) error {
	client, err := c.connection.open(ctx, env, promgrpc.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := c.connection.bounded(ctx)
	defer cancel()
	rows, truncated, err := ask(ctx, client)
	if err != nil {
		return err
	}
	if truncated {
		warn(env, "there is more than these %d; narrow the selectors, or raise --limit", len(rows))
	}
	if c.format == "json" {
		return output.PrintJSON(env.stdout, rows)
	}
	return output.PrintRows(env.stdout, env.terminal, heading, rows, cells)
}

func registerLabels(app *kingpin.Application, c *connection) (string, func(context.Context, environment) error) {
	rpc := &call{connection: c}
	var args []string
	var limit uint32
	cmd := app.Command("labels", "Print the label names of the live series or, with NAME, the values of that label, one a line: a line break is written \\n and a backslash as two, as in the text format. --output json has them as they are.")
	cmd.Arg("name", "A label's NAME, then PromQL series selectors. An argument with a brace is a selector.").HintAction(labelNames).StringsVar(&args)
	rpc.register(cmd)
	option(cmd, "limit", "How many names or values to print, 100000 at most. 0 means 100000.").Default("10000").Uint32Var(&limit)
	return cmd.FullCommand(), func(ctx context.Context, env environment) error {
		// The environment's limit may be meant for get, which has no maximum.
		if limit == 0 || limit > maxLimit {
			limit = maxLimit
		}
		if len(args) == 0 || strings.Contains(args[0], "{") {
			return runCall(ctx, env, rpc, "", func(ctx context.Context, client *promgrpc.Client) ([]labelRow, bool, error) {
				res, err := client.GetLabelNames(ctx, &metricsv1.GetLabelNamesRequest{Selectors: args, Limit: limit})
				rows := make([]labelRow, len(res.GetNames()))
				for i, name := range res.GetNames() {
					rows[i].Name = name
				}
				return rows, res.GetTruncated(), err
			}, labelRow.cells)
		}
		return runCall(ctx, env, rpc, "", func(ctx context.Context, client *promgrpc.Client) ([]labelRow, bool, error) {
			res, err := client.GetLabelValues(ctx, &metricsv1.GetLabelValuesRequest{Name: args[0], Selectors: args[1:], Limit: limit})
			rows := make([]labelRow, len(res.GetValues()))
			for i, v := range res.GetValues() {
				rows[i] = labelRow{Name: args[0], Value: v}
			}
			return rows, res.GetTruncated(), err
		}, labelRow.cells)
	}
}

// labelRow has no value if only names were asked for.
type labelRow struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

func (r labelRow) cells() []string { return []string{cmp.Or(r.Value, r.Name)} }

func registerMetadata(app *kingpin.Application, c *connection) (string, func(context.Context, environment) error) {
	rpc := &call{connection: c}
	var family string
	cmd := app.Command("metadata", "Print type, unit and help of the metric families.")
	cmd.Arg("family", "Only this FAMILY.").StringVar(&family)
	rpc.register(cmd)
	return cmd.FullCommand(), func(ctx context.Context, env environment) error {
		type row struct {
			Family string `json:"family"`
			Type   string `json:"type"`
			Unit   string `json:"unit,omitempty"`
			Help   string `json:"help,omitempty"`
		}
		return runCall(ctx, env, rpc, "FAMILY\tTYPE\tUNIT\tHELP", func(ctx context.Context, client *promgrpc.Client) ([]row, bool, error) {
			res, err := client.GetMetadata(ctx, &metricsv1.GetMetadataRequest{MetricFamilyName: family, Limit: maxLimit})
			rows := make([]row, len(res.GetMetadata()))
			for i, m := range res.GetMetadata() {
				rows[i] = row{m.GetMetricFamilyName(), output.Kind(m.GetType()), m.GetUnit(), m.GetHelp()}
			}
			return rows, res.GetTruncated(), err
		}, func(r row) []string {
			return []string{r.Family, r.Type, cmp.Or(r.Unit, "-"), r.Help}
		})
	}
}

func instant(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339Nano)
}

// short returns enough of a log id to tell logs apart.
func short(id string) string { return id[:min(len(id), 8)] }

func size(n int64) string {
	for i, unit := range slices.Backward([]string{"KiB", "MiB", "GiB", "TiB"}) {
		if base := int64(1) << (10 * (i + 1)); n >= base {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(base), unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}
