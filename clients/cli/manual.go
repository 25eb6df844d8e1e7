package cli

import (
	"context"
	"strings"
	"text/template"

	"github.com/alecthomas/kingpin/v2"
)

const manualHelp = `Print this manual, as a man page or as Markdown.

  prometheus-grpc-client manual | man -l -`

func registerManual(app *kingpin.Application, _ *connection) (string, func(context.Context, environment) error) {
	var format string
	cmd := app.Command("manual", manualHelp)
	option(cmd, "format", "man or markdown.").Default("man").EnumVar(&format, "man", "markdown")
	return cmd.FullCommand(), func(_ context.Context, env environment) error {
		if format == "markdown" {
			return render(app, env.stdout, markdownManual)
		}
		return render(app, env.stdout, manPage)
	}
}

var manualFunctions = template.FuncMap{
	"fish":     fishName,
	"man":      escapeMan,
	"cell":     escapeCell,
	"lead":     lead,
	"rest":     rest,
	"indented": func(s string) bool { return strings.HasPrefix(s, "  ") },
	"lines":    func(s string) []string { return strings.Split(strings.Trim(s, "\n"), "\n") },
	"shown":    shown,
	"value":    placeholder,
}

// shown returns the flags that help lists.
func shown(flags []*kingpin.FlagModel) (all []*kingpin.FlagModel) {
	for _, f := range flags {
		if !f.Hidden {
			all = append(all, f)
		}
	}
	return all
}

// placeholder returns what stands for a flag's value.
func placeholder(f *kingpin.FlagModel) string {
	if f.IsBoolFlag() {
		return ""
	}
	return "=" + f.FormatPlaceHolder()
}

// escapeMan escapes a text so that roff prints it as it is.
func escapeMan(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	s = strings.ReplaceAll(s, "-", `\-`)
	s = strings.ReplaceAll(s, "…", `\[u2026]`)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

func escapeCell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(s)
}

// lead returns the first paragraph of a text, rest what follows it.
func lead(s string) string {
	first, _, _ := strings.Cut(s, "\n\n")
	return first
}

func rest(s string) string {
	_, after, _ := strings.Cut(s, "\n\n")
	return after
}

const manPage = `{{define "text"}}{{range lines .}}{{if indented .}}.nf
{{. | man}}
.fi
{{else if .}}{{. | man}}
{{else}}.PP
{{end}}{{end}}{{end -}}
{{define "flags"}}{{range shown .Flags}}.TP
\fB{{if .Short}}\-{{.Short | Char}}\fR, \fB{{end}}\-\-{{.Name | man}}\fR{{value . | man}}
{{.Help | man}}
{{if .Envar}}Environment: {{.Envar}}.
{{end}}{{end}}{{end -}}
.TH {{.App.Name}} 1
.SH NAME
{{.App.Name | man}} \- prints the metrics of a MetricsService, and follows them
.SH SYNOPSIS
\fB{{.App.Name | man}}\fR \fICOMMAND\fR [\fIFLAGS\fR] [\fIARGUMENTS\fR]
.SH DESCRIPTION
{{template "text" .App.Help}}.SH COMMANDS
{{range .App.FlattenedCommands}}{{if not .Hidden}}.SS {{.FullCommand}}{{range .Args}} {{if not .Required}}[{{end}}{{.Name}}{{if not .Required}}]{{end}}{{end}}
{{template "text" .Help}}{{range .Args}}.TP
\fI{{.Name}}\fR
{{.Help | man}}
{{end}}{{template "flags" .}}{{end}}{{end}}`

const markdownManual = `# {{.App.Name}}

{{.App.Help}}

Each flag has an environment variable, in the last column. The command line overrides the environment, and a call ignores what it has no use for in the environment: a format that the command does not have, the format if there is a template, events without JSON, an interval without --follow.
{{range .App.FlattenedCommands}}{{if not .Hidden}}
## {{.FullCommand}}{{range .Args}} {{if not .Required}}[{{end}}{{.Name}}{{if not .Required}}]{{end}}{{end}}

{{.Help | lead}}
{{with rest .Help}}
` + "```" + `
{{.}}
` + "```" + `
{{end}}{{range .Args}}
- ` + "`{{.Name}}`" + `: {{.Help}}
{{end}}{{with shown .Flags}}
| flag | | environment |
|---|---|---|
{{range .}}| ` + "`{{if .Short}}-{{.Short | Char}}, {{end}}--{{.Name}}{{value . | cell}}`" + ` | {{.Help | cell}} | ` + "`{{.Envar}}`" + ` |
{{end}}{{end}}{{end}}{{end}}`
