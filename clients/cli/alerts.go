package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/clients/cli/alerting"
	"github.com/promgrpc/exporter/clients/cli/output"
	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/usage"
)

const alertsHelp = `Evaluate a rule file of Prometheus on the servers, and print the alerts whose state has changed: pending, firing, resolved, or inactive, if one was pending only.

Alerts are evaluated step by step, by the forwarders' own clocks, with what had arrived --delay after each step, so that every server comes to the same result. When a server fails another one goes on, with no change lost and none twice. With --cursor-file a later run goes on where this one ended, with the alerts that were active: without it none is active at the start, and one whose expression holds becomes pending or fires then.

--exec runs a command with the shell for each change. It gets the alert as JSON on standard input, and ALERT_NAME, ALERT_GROUP, ALERT_STATE, ALERT_PREVIOUS and ALERT_VALUE in its environment. What it prints goes to standard error. It is run again until it succeeds, and only then the cursor is kept: each change is delivered at least once, twice only after a crash.

--alertmanager sends alerts that fire, and those that are resolved. One of several has to take a change before the next comes; one that answers 400, since an alert is not valid there, is warned of and has taken the others. Every minute, all get what fires and what was resolved within 15 minutes again, as Prometheus does it.

  prometheus-grpc-client alerts --rules rules.yml --cursor-file alerts.cursor --alertmanager http://localhost:9093
  prometheus-grpc-client alerts --rules rules.yml --since 1h --no-follow`

// maxRules is how long a file may be that a request has.
const maxRules = 512 << 10

// alerts is the command that evaluates rules.
type alerts struct {
	connection         *connection
	rules              string
	follow             bool
	since, end         string
	cursor, cursorPath string
	interval, delay    time.Duration
	heartbeat          time.Duration
	maxReconnects      int
	externalLabels     map[string]string
	externalURL        string
	command            string
	alertmanagers      []string
	alertmanagerCA     string
	resend             time.Duration
	records            bool
	format             string
	whenAway           string
}

func registerAlerts(app *kingpin.Application, c *connection) (string, func(context.Context, environment) error) {
	a := &alerts{connection: c, externalLabels: map[string]string{}}
	cmd := app.Command("alerts", alertsHelp)
	c.register(cmd)
	option(cmd, "rules", "Rule file of Prometheus.").Required().PlaceHolder("FILE").StringVar(&a.rules)
	option(cmd, "follow", "Go on with each step as it becomes due.").Short('f').Default("true").BoolVar(&a.follow)
	option(cmd, "since", "Start with the first step at this time or later, in the forms that get has.").PlaceHolder("TIME").StringVar(&a.since)
	option(cmd, "end", "End with the last step at this time or earlier, in the same forms.").PlaceHolder("TIME").StringVar(&a.end)
	option(cmd, "cursor", "Resume right after this cursor.").StringVar(&a.cursor)
	option(cmd, "cursor-file", "Resume after the cursor in this file, if it has one, and keep the cursor of what was delivered there. Only one run at a time may use it.").PlaceHolder("FILE").StringVar(&a.cursorPath)
	option(cmd, "interval", "Time between two steps of groups that have no interval.").Default("1m").DurationVar(&a.interval)
	option(cmd, "delay", "How long samples may take to arrive, for groups that have no query_offset.").Default("10s").DurationVar(&a.delay)
	option(cmd, "heartbeat", "Heartbeat interval. A server that is silent for three times as long is given up for the next one.").Default("10s").DurationVar(&a.heartbeat)
	option(cmd, "max-reconnects", "Give up after this many lost connections in a row. -1 means never while following.").Default("-1").IntVar(&a.maxReconnects)
	registerWhenAway(cmd, &a.whenAway)
	option(cmd, "external-label", "Label for alerts and records that do not have it. Repeatable.").PlaceHolder("NAME=VALUE").StringMapVar(&a.externalLabels)
	option(cmd, "external-url", "URL of a Prometheus, for templates and for links to the expression.").PlaceHolder("URL").StringVar(&a.externalURL)
	option(cmd, "exec", "Command to run for each change, by the shell.").PlaceHolder("COMMAND").StringVar(&a.command)
	option(cmd, "alertmanager", "Alertmanager to send alerts to, such as http://localhost:9093; https://USER:PASSWORD@HOST for basic authentication, best in the environment. Repeatable.").PlaceHolder("URL").StringsVar(&a.alertmanagers)
	option(cmd, "alertmanager-ca-file", "Authorities in PEM that certificates of Alertmanagers are issued by, instead of the system's.").PlaceHolder("FILE").StringVar(&a.alertmanagerCA)
	option(cmd, "alertmanager-resend", "Pause between two sends of alerts that have not changed.").Default("1m").DurationVar(&a.resend)
	option(cmd, "records", "Print what records come to, too.").BoolVar(&a.records)
	option(cmd, "output", "Format: text or json, an object a line, as --exec gets it.").Short('o').Default("text").EnumVar(&a.format, "text", "json")
	return cmd.FullCommand(), a.run
}

func (a *alerts) run(ctx context.Context, env environment) error {
	rules, file, err := a.request(env)
	if err != nil {
		return err
	}
	defer file.close()
	to, err := a.delivery(env, file)
	if err != nil {
		return err
	}
	client, err := a.connection.open(ctx, env, promgrpc.Options{Logger: newLogger(env.stderr), FailFast: true, MaxReconnects: reconnects(a.maxReconnects)})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := a.connection.bounded(ctx)
	defer cancel()
	if to.managers != nil {
		go to.managers.Repeat(ctx)
	}
	err = to.all(ctx, client, rules)
	if a.follow && (errors.Is(err, errInterrupted) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil) {
		err = nil
	}
	return errors.Join(err, to.output.Close(), file.save())
}

// request returns what to evaluate, and the file that keeps the cursor.
func (a *alerts) request(env environment) (promgrpc.Rules, *cursorFile, error) {
	r := promgrpc.Rules{
		Cursor: a.cursor, Interval: a.interval, Delay: &a.delay, Follow: a.follow, ExternalLabels: a.externalLabels, ExternalURL: a.externalURL,
		Active: len(a.alertmanagers) > 0, WhenAway: whenAway(a.whenAway),
	}
	switch {
	case a.cursor != "" && (a.since != "" || a.cursorPath != ""):
		return r, nil, usage.Errorf("--cursor excludes --since and --cursor-file")
	case a.cursor != "" && !isCursor(a.cursor):
		return r, nil, usage.Errorf("--cursor: want what a server gave, without spaces")
	case a.interval <= 0 || a.delay < 0 || a.heartbeat < 0 || a.resend <= 0:
		return r, nil, usage.Errorf("--interval and --alertmanager-resend must be positive, --delay and --heartbeat must not be negative")
	}
	if a.follow {
		r.HeartbeatInterval = a.heartbeat
	}
	text, err := os.ReadFile(a.rules)
	if err != nil {
		return r, nil, usage.Errorf("--rules: %w", err)
	}
	if len(text) > maxRules {
		return r, nil, usage.Errorf("--rules %s: it has %d bytes, %d at most are evaluated", a.rules, len(text), maxRules)
	}
	r.File = string(text)
	for _, of := range []struct {
		flag, text string
		to         **time.Time
	}{{"--since", a.since, &r.Since}, {"--end", a.end, &r.End}} {
		if of.text == "" {
			continue
		}
		t, err := parseTime(env, of.flag, of.text)
		if err != nil {
			return r, nil, err
		}
		*of.to = &t
	}
	file, err := openCursorFile(a.cursorPath, env.output)
	if err != nil {
		return r, nil, err
	}
	if file.cursor != "" {
		r.Cursor, r.Since = file.cursor, nil
	}
	return r, file, nil
}

// delivery takes what comes to where it is wanted.
type delivery struct {
	env      environment
	output   output.Output // of records
	records  bool
	json     bool
	command  *alerting.Command       // nil for none
	managers *alerting.Alertmanagers // nil for none
	file     *cursorFile
	warned   map[string]bool // what was said once
}

func (a *alerts) delivery(env environment, file *cursorFile) (*delivery, error) {
	d := &delivery{
		env: env, file: file, records: a.records, json: a.format == "json", warned: map[string]bool{},
		output: output.New(a.format, env.stdout, output.Options{Terminal: env.terminal, Colour: env.colour}),
	}
	if a.command != "" {
		d.command = &alerting.Command{Text: a.command, Output: env.stderr}
	}
	if len(a.alertmanagers) == 0 {
		return d, nil
	}
	var err error
	if d.managers, err = alerting.NewAlertmanagers(a.alertmanagers, a.connection.AllowCleartext); err != nil {
		return nil, usage.Errorf("--alertmanager: %v", err)
	}
	d.managers.Every = a.resend
	d.managers.Warn = func(err error) { warn(env, "%v", err) }
	d.managers.HTTP, err = a.alertmanagerClient()
	return d, err
}

// alertmanagerTime is how long an Alertmanager may take to answer.
const alertmanagerTime = 10 * time.Second

func (a *alerts) alertmanagerClient() (*http.Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if a.alertmanagerCA != "" {
		pem, err := os.ReadFile(a.alertmanagerCA)
		if err != nil {
			return nil, usage.Errorf("--alertmanager-ca-file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usage.Errorf("--alertmanager-ca-file %s: it has no certificate in PEM", a.alertmanagerCA)
		}
	}
	return &http.Client{
		Timeout: alertmanagerTime, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// all delivers until the end.
func (d *delivery) all(ctx context.Context, client *promgrpc.Client, rules promgrpc.Rules) error {
	for r, err := range client.Rules(ctx, rules) {
		if err != nil {
			return err
		}
		if err := d.deliver(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// deliver delivers a step, and keeps its cursor then.
func (d *delivery) deliver(ctx context.Context, r promgrpc.Ruling) error {
	tellAway(d.env, r.GetAway())
	for _, f := range r.GetFailures() {
		d.once("group %s, rule %s: %s", r.GetGroup(), f.GetRule(), f.GetError())
	}
	for _, a := range r.GetAnnotations() {
		d.once("group %s: %s", r.GetGroup(), a.GetText())
	}
	if d.records {
		if err := errors.Join(d.output.Series(r.GetTimeseries()), d.output.Flush()); err != nil {
			return err
		}
	}
	all := alerting.Of(r.EvaluateRulesResponse)
	for i := range all {
		if !all[i].Changed() {
			continue // It was told before this run.
		}
		if err := d.print(&all[i]); err != nil {
			return err
		}
		if d.command == nil {
			continue
		}
		if err := d.persist(ctx, func() error { return d.command.Deliver(ctx, &all[i]) }); err != nil {
			return err
		}
	}
	if d.managers != nil {
		if err := d.persist(ctx, func() error { return d.managers.Deliver(ctx, all) }); err != nil {
			return err
		}
	}
	if r.GetCursor() != "" {
		d.file.cursor = r.GetCursor()
	}
	if len(all) > 0 || d.file.due() {
		return d.file.save()
	}
	return nil
}

// maxWarned bounds how many warnings are remembered, each of which is said once.
const maxWarned = 1000

func (d *delivery) once(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if d.warned[text] || len(d.warned) == maxWarned {
		return
	}
	d.warned[text] = true
	warn(d.env, "%s", text)
}

// Pauses before what could not be delivered is tried again.
const (
	leastPause = time.Second
	mostPause  = time.Minute
)

// persist tries to deliver until it succeeds, or ctx ends.
func (d *delivery) persist(ctx context.Context, deliver func() error) error {
	for failures := 0; ; failures++ {
		err := deliver()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		pause := backoff.Pause(leastPause, mostPause, failures)
		warn(d.env, "%v; trying again in %s", err, pause.Round(time.Second/10))
		if err := backoff.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// print prints an alert on a line.
func (d *delivery) print(a *alerting.Alert) error {
	var line string
	if d.json {
		text, err := json.Marshal(a)
		if err != nil {
			return fmt.Errorf("alert as JSON: %w", err)
		}
		line = string(text)
	} else {
		line = fmt.Sprintf("%s %-8s %s%s %s", a.At.UTC().Format(time.RFC3339), a.State, a.Name, braced(a.Labels, "alertname"), a.Value)
		if len(a.Annotations) > 0 {
			line += " " + braced(a.Annotations, "")
		}
	}
	_, err := fmt.Fprintln(d.env.stdout, line)
	return err
}

// braced returns labels as PromQL has them, but one.
func braced(labels map[string]string, but string) string {
	var all []string
	for name, value := range labels {
		if name != but {
			all = append(all, fmt.Sprintf("%s=%q", name, value))
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return ""
	}
	return "{" + strings.Join(all, ", ") + "}"
}
