package cli

import (
	"context"
	"errors"
	"iter"
	"text/template"
	"time"

	"github.com/promgrpc/exporter/clients/cli/output"
	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/internal/usage"
)

// streaming is what the commands have in common that stream: where a stream starts, how
// long it lasts, and how it is printed.
type streaming struct {
	connection    *connection
	follow        bool
	since         string
	cursor        string
	cursorPath    string
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
	whenAway      string
	given         given
}

func (s *streaming) register(cmd clause) {
	s.connection.register(cmd)
	option(cmd, "cursor", "Resume right after this cursor.").StringVar(&s.cursor)
	option(cmd, "cursor-file", "Resume after the cursor in this file, if it has one, and keep the cursor of what was printed there: a line with the cursor, a space and its CRC-32C. Only one run at a time may use it.").PlaceHolder("FILE").StringVar(&s.cursorPath)
	option(cmd, "heartbeat", "With --follow: heartbeat interval. A server that is silent for three times as long is given up for the next one.").Default("10s").DurationVar(&s.heartbeat)
	option(cmd, "max-reconnects", "Give up after this many lost connections in a row. -1 means never while following.").Default("-1").IntVar(&s.maxReconnects)
	registerCSV(cmd, &s.csvHeader)
	option(cmd, "template", "Print one line a sample by this template instead of --output.").PlaceHolder("TEMPLATE").StringVar(&s.template)
	option(cmd, "progress", "Show on standard error how far a replay has come: always, never, or if standard error is a terminal and the output is not (auto).").
		Default("auto").EnumVar(&s.progress, "auto", "always", "never")
	registerWhenAway(cmd, &s.whenAway)
	option(cmd, "limit", "End after this many samples. 0 means no limit.").Default("0").IntVar(&s.limit)
}

// ignoreUnused drops flags of the environment that this call has no use for: they
// are meant for other calls.
func (s *streaming) ignoreUnused() {
	s.follow = s.follow || s.watch
	if !s.given["template"] && (s.given["output"] || s.watch) {
		s.template = ""
	}
	if !s.given["output"] && s.template != "" {
		s.format = "text"
	}
	if !s.given["events"] && s.format != "json" {
		s.events = false
	}
}

// check returns the mistakes in flags that all streams have.
func (s *streaming) check(env environment) error {
	switch {
	case s.template != "" && s.given["output"]:
		return usage.Errorf("--template and --output exclude each other")
	case s.template != "" && s.watch:
		return usage.Errorf("--template and --watch exclude each other")
	case s.watch && !env.terminal:
		return usage.Errorf("--watch needs a terminal: for a pipe or a file use --follow")
	case s.watch && s.cursorPath != "":
		return usage.Errorf("--watch and --cursor-file exclude each other: a table is not kept")
	case s.cursor != "" && !isCursor(s.cursor):
		return usage.Errorf("--cursor: want what a server gave, without spaces")
	case s.cursor != "" && s.since != "":
		return usage.Errorf("--cursor and --since exclude each other")
	case s.cursor != "" && s.cursorPath != "":
		return usage.Errorf("--cursor and --cursor-file exclude each other")
	case s.limit > 0 && s.cursorPath != "":
		return usage.Errorf("--limit and --cursor-file exclude each other: a limit may end between two cursors")
	case s.limit < 0:
		return usage.Errorf("--limit must not be negative")
	case s.events && s.format != "json":
		return usage.Errorf("--events needs --output json")
	case s.given["csv-header"] && s.format != "csv":
		return usage.Errorf("--csv-header needs --output csv")
	case s.heartbeat < 0:
		return usage.Errorf("an interval must not be negative")
	}
	return nil
}

// start returns where the stream starts: a file that keeps the cursor, a cursor, or a
// time, or nothing of that.
func (s *streaming) start(env environment) (file *cursorFile, cursor string, since *time.Time, err error) {
	if s.template != "" {
		if s.parsed, err = output.ParseTemplate(s.template); err != nil {
			return nil, "", nil, usage.Errorf("%w", err)
		}
	}
	if s.since != "" {
		t, err := parseTime(env, "--since", s.since)
		if err != nil {
			return nil, "", nil, err
		}
		since = &t
	}
	if file, err = openCursorFile(s.cursorPath, env.output); err != nil {
		return nil, "", nil, err
	}
	if file.cursor != "" {
		return file, file.cursor, nil, nil
	}
	return file, s.cursor, since, nil
}

// parseTime parses the time that a flag has.
func parseTime(env environment, flag, text string) (time.Time, error) {
	t, err := parseSince(text, time.Now())
	if err != nil {
		return t, usage.Errorf("%s: %w", flag, err)
	}
	if likeSeconds(text) {
		warn(env, "%s %s is %s: seconds have a decimal point", flag, text, t.UTC().Format(time.RFC3339))
	}
	return t, nil
}

// source is what one of the commands streams.
type source struct {
	file  *cursorFile
	since *time.Time
	// live returns what shows the stream in place, nil if nothing does.
	live func(environment) *output.Live
	// output prints it otherwise. It may hold everything back until the end.
	output   func(context.Context, *promgrpc.Client, environment) output.Output
	heldBack bool
	parts    func(context.Context, *promgrpc.Client) iter.Seq2[part, error]
}

// stream prints a source to its end. It closes the file.
func (s *streaming) stream(ctx context.Context, env environment, from source) error {
	defer from.file.close()
	ctx, stop := output.WhileRead(ctx, env.output)
	defer stop()
	live := from.live(env)
	if live != nil {
		defer live.Stop()
		env.stderr = live // it would overwrite messages
	}
	var progress *output.Progress
	if live == nil && s.showsProgress(env) {
		progress = output.NewProgress(env.messages, from.since)
		env = env.withMessages(progress) // they would overwrite its line
	}
	client, err := s.connection.open(ctx, env, promgrpc.Options{
		Logger: newLogger(env.stderr), FailFast: true, MaxReconnects: reconnects(s.maxReconnects),
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := s.connection.bounded(ctx)
	defer cancel()

	p := &printer{
		env: env, file: from.file, limit: s.limit, progress: progress,
		eager: s.follow || env.terminal, heldBack: from.heldBack,
	}
	if live != nil {
		p.output = live
	} else {
		p.output = from.output(ctx, client, env)
	}
	err = p.print(from.parts(ctx, client))
	if s.follow && (errors.Is(err, errInterrupted) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil) {
		err = nil
	}
	return p.finish(err)
}

func (s *streaming) showsProgress(env environment) bool {
	if s.progress == "auto" {
		return !s.follow && env.messagesTerminal && !env.terminal
	}
	return s.progress == "always"
}

// reconnects is what --max-reconnects means to the client.
func reconnects(most int) int {
	if most == 0 {
		return -1 // none at all
	}
	return max(most, 0)
}

// options returns those of the formats.
func (s *streaming) options(env environment) output.Options {
	return output.Options{
		Terminal: env.terminal, Colour: env.colour, Events: s.events, Headless: !s.csvHeader,
		Ordered: !s.follow, Template: s.parsed,
	}
}
