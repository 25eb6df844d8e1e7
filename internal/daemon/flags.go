package daemon

import (
	"io"
	"log/slog"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/envar"
)

// nameEnvars gives every flag that has none an environment variable, by the rule
// of [envar.Name]. A flag on the command line wins.
func nameEnvars(app *kingpin.Application) {
	model := app.Model()
	for _, f := range model.Flags {
		nameEnvar(f, app.GetFlag(f.Name))
	}
	for _, c := range model.Commands {
		nameCommandEnvars(c, app.GetCommand(c.Name))
	}
}

func nameCommandEnvars(model *kingpin.CmdModel, cmd *kingpin.CmdClause) {
	for _, f := range model.Flags {
		nameEnvar(f, cmd.GetFlag(f.Name))
	}
	for _, c := range model.Commands {
		nameCommandEnvars(c, cmd.GetCommand(c.Name))
	}
}

func nameEnvar(f *kingpin.FlagModel, clause *kingpin.FlagClause) {
	switch {
	case clause == nil, f.Hidden, f.Envar != "", f.Name == "help", f.Name == "version":
		return
	}
	clause.Envar(envar.Name(f.Name))
}

type logFlags struct{ level, format string }

func (l *logFlags) register(app *kingpin.Application) {
	app.Flag("log.level", "Least level to log: debug, info, warn or error.").
		Default("info").EnumVar(&l.level, "debug", "info", "warn", "error")
	app.Flag("log.format", "Format of the log: logfmt or json.").
		Default("logfmt").EnumVar(&l.format, "logfmt", "json")
}

func (l *logFlags) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.level)) // The flag takes nothing else.
	o := &slog.HandlerOptions{Level: level}
	if l.format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
