package cli

import (
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

const completionHelp = `Print a script that makes a shell complete this program's commands and flags, and the names of metrics and labels, for which it asks the servers of PROMGRPC_CLIENT_ADDRESS.

  source <(prometheus-grpc-client completion bash)
  prometheus-grpc-client completion zsh >"${fpath[1]}/_prometheus-grpc-client"
  prometheus-grpc-client completion fish >~/.config/fish/completions/prometheus-grpc-client.fish`

// completions are kingpin templates, by shell. The scripts ask the program itself
// what could come next.
var completions = map[string]string{
	"bash": kingpin.BashCompletionTemplate,
	"zsh":  kingpin.ZshCompletionTemplate,
	"fish": `function __complete_{{.App.Name | fish}}
    set -l words (commandline -opc)
    $words[1] --completion-bash $words[2..-1] (commandline -ct)
end
complete -c {{.App.Name}} -f -a '(__complete_{{.App.Name | fish}})'
`,
}

func registerCompletion(app *kingpin.Application, _ *connection) (string, func(context.Context, environment) error) {
	var shell string
	cmd := app.Command("completion", completionHelp)
	cmd.Arg("shell", "bash, zsh or fish.").Required().EnumVar(&shell, "bash", "zsh", "fish")
	return cmd.FullCommand(), func(_ context.Context, env environment) error {
		return render(app, env.stdout, completions[shell])
	}
}

// render executes a template on the program's commands and flags.
func render(app *kingpin.Application, w io.Writer, template string) error {
	c, err := app.ParseContext(nil)
	if err != nil {
		return err
	}
	app.UsageFuncs(manualFunctions)
	app.UsageWriter(w)
	return app.UsageForContextWithTemplate(c, 2, template)
}

// hintTime is how long a shell waits for names.
const hintTime = time.Second

// metricNames returns the names of metrics, for completion.
func metricNames() []string {
	return hints(func(ctx context.Context, client *promgrpc.Client) ([]string, error) {
		res, err := client.GetLabelValues(ctx, &metricsv1.GetLabelValuesRequest{Name: model.MetricNameLabel, Limit: maxLimit})
		return res.GetValues(), err
	})
}

// labelNames returns the names of labels, for completion.
func labelNames() []string {
	return hints(func(ctx context.Context, client *promgrpc.Client) ([]string, error) {
		res, err := client.GetLabelNames(ctx, &metricsv1.GetLabelNamesRequest{Limit: maxLimit})
		return res.GetNames(), err
	})
}

// hints asks the servers that the environment names. Errors are dropped: there is
// then nothing to complete, and nobody to tell.
func hints(ask func(context.Context, *promgrpc.Client) ([]string, error)) []string {
	var c connection
	flags := kingpin.New(program, "")
	c.register(flags)
	if _, err := flags.Parse(nil); err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), hintTime)
	defer cancel()
	client, err := c.open(ctx, environment{stderr: io.Discard}, promgrpc.Options{})
	if err != nil {
		return nil
	}
	defer func() { _ = client.Close() }()
	names, err := ask(ctx, client)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return !harmless.MatchString(name) })
}

// harmless matches names that no shell expands. bash expands completions: a server
// must not put commands there.
var harmless = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:.]*$`)

func fishName(s string) string { return strings.ReplaceAll(s, "-", "_") }
