package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/clients/cli/output"
	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/usage"
)

func registerStatus(app *kingpin.Application, c *connection) (string, func(context.Context, environment) error) {
	rpc := &call{connection: c}
	cmd := app.Command("status", "Print the state of every server in --address. Fails if any of them does not answer.")
	rpc.register(cmd)
	return cmd.FullCommand(), func(ctx context.Context, env environment) error {
		ctx, cancel := c.bounded(ctx)
		defer cancel()
		states, err := states(ctx, env, c)
		if rpc.format == "json" {
			return errors.Join(output.PrintJSON(env.stdout, states), err)
		}
		return errors.Join(printStates(env.stdout, states, time.Now()), err)
	}
}

// state is that of one server, with the fields of the JSON output.
type state struct {
	Address    string `json:"address"`
	Instance   string `json:"instance"`
	Version    string `json:"version"`
	StartTime  string `json:"start_time,omitempty"`
	Ready      bool   `json:"ready"`
	NotReady   string `json:"not_ready,omitempty"`
	LiveSeries uint64 `json:"live_series"`
	Streams    uint32 `json:"streams"`
	Cursor     string `json:"cursor"`
	belonging
	Groups    []groupState `json:"groups,omitempty"`
	Logs      []logState   `json:"logs"`
	Listeners []listener   `json:"listeners"`
	started   time.Time
}

type listener struct {
	Name               string `json:"name"`
	Address            string `json:"address"`
	TLS                bool   `json:"tls"`
	ClientCertificates bool   `json:"client_certificates"`
	Passwords          bool   `json:"passwords"`
	Policies           bool   `json:"policies"`
	Exposed            bool   `json:"exposed"`
}

type logState struct {
	LogID         string `json:"log_id"`
	FirstSequence uint64 `json:"first_sequence"`
	LastSequence  uint64 `json:"last_sequence"`
	Connected     bool   `json:"connected"`
	LagBlocks     uint64 `json:"lag_blocks"`
	ReceiveTime   string `json:"receive_time,omitempty"`
	Series        uint64 `json:"series"`
	SizeBytes     int64  `json:"size_bytes"`
	belonging
	received time.Time
}

// belonging is which group a log, or all logs of a server, are of, and by which version of
// the groups file they are written.
type belonging struct {
	Group            string `json:"group,omitempty"`
	PlacementVersion uint64 `json:"placement_version,omitempty"`
}

// states asks all servers at once.
func states(ctx context.Context, env environment, c *connection) ([]state, error) {
	addresses, err := everyServer(ctx, env, c)
	if err != nil {
		return nil, err
	}
	answers := make([]state, len(addresses))
	errs := make([]error, len(addresses))
	var wg sync.WaitGroup
	for i, address := range addresses {
		wg.Go(func() {
			client, err := c.dial([]string{address}, promgrpc.Options{})
			if err != nil {
				errs[i] = err
				return
			}
			defer func() { _ = client.Close() }()
			res, err := client.GetStatus(ctx)
			errs[i], answers[i] = err, newState(address, res)
		})
	}
	wg.Wait()
	var out []state
	for i := range answers {
		if errs[i] == nil {
			out = append(out, answers[i])
		}
	}
	return out, errors.Join(errs...)
}

// directoryTime is how long a directory may take to list the servers.
const directoryTime = 5 * time.Second

// everyServer returns what --address lists, or the directory that it names.
func everyServer(ctx context.Context, env environment, c *connection) ([]string, error) {
	if isDirectory(c.address) {
		servers, err := watchServers(ctx, c.address, true, newLogger(env.stderr))
		if err != nil {
			return nil, usage.Errorf("--address: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, directoryTime)
		defer cancel()
		return servers.resolve(ctx)
	}
	addresses := c.addresses()
	if len(addresses) == 0 {
		return nil, usage.Errorf("--address: no address of a server")
	}
	return addresses, nil
}

func newState(address string, res *metricsv1.GetStatusResponse) state {
	s := state{
		Address: address, Instance: res.GetInstance(), Version: res.GetVersion(), Ready: res.GetReady(), NotReady: res.GetNotReady(),
		StartTime: instant(res.GetStartTime()), LiveSeries: res.GetLiveSeries(), Streams: res.GetStreams(),
		Cursor: res.GetCursor(), belonging: belonging{res.GetGroup(), res.GetPlacementVersion()}, started: res.GetStartTime().AsTime(), Logs: []logState{}, Listeners: []listener{},
	}
	for _, g := range res.GetGroups() {
		s.Groups = append(s.Groups, newGroupState(g))
	}
	for _, l := range res.GetListeners() {
		s.Listeners = append(s.Listeners, listener{
			Name: l.GetName(), Address: l.GetAddress(), TLS: l.GetTls(), ClientCertificates: l.GetClientCertificates(),
			Passwords: l.GetPasswords(), Policies: l.GetPolicies(), Exposed: l.GetExposed(),
		})
	}
	for _, l := range res.GetLogs() {
		s.Logs = append(s.Logs, logState{
			LogID: l.GetLogId(), FirstSequence: l.GetFirstSequence(), LastSequence: l.GetLastSequence(),
			Connected: l.GetConnected(), LagBlocks: l.GetLagBlocks(), ReceiveTime: instant(l.GetReceiveTime()),
			Series: l.GetSeries(), SizeBytes: l.GetSizeBytes(), belonging: belonging{l.GetGroup(), l.GetPlacementVersion()}, received: l.GetReceiveTime().AsTime(),
		})
	}
	return s
}

func printStates(w io.Writer, states []state, now time.Time) error {
	b := bufio.NewWriter(w)
	for i, s := range states {
		if i > 0 {
			_, _ = fmt.Fprintln(b)
		}
		ready := "ready"
		if !s.Ready {
			ready = "not ready"
			if s.NotReady != "" {
				ready += ": " + output.Cell(s.NotReady, false)
			}
		}
		up := ""
		if s.StartTime != "" {
			up = ", up " + now.Sub(s.started).Round(time.Second).String()
		}
		_, _ = fmt.Fprintf(b, "%s: %s %s, %s%s\n", output.Cell(s.Address, false), output.Cell(s.Instance, false), output.Cell(s.Version, false), ready, up)
		_, _ = fmt.Fprintf(b, "  live series %d, streams %d\n", s.LiveSeries, s.Streams)
		_, _ = fmt.Fprintf(b, "  cursor %s\n", output.Cell(s.Cursor, false))
		if s.Group != "" {
			_, _ = fmt.Fprintf(b, "  group %s, version %d of the groups file\n", output.Cell(s.Group, false), s.PlacementVersion)
		}
		printGroups(b, s.Groups, s.PlacementVersion)
		t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
		if len(s.Logs) > 0 {
			_, _ = fmt.Fprintln(t, "  LOG\tFIRST\tLAST\tFORWARDER\tLAG\tSERIES\tSIZE\tRECEIVED")
		}
		for _, l := range s.Logs {
			connected, lag, received := "away", "-", "never"
			if l.Connected {
				connected, lag = "connected", fmt.Sprint(l.LagBlocks)
			}
			if l.ReceiveTime != "" {
				received = now.Sub(l.received).Round(100*time.Millisecond).String() + " ago"
			}
			_, _ = fmt.Fprintf(t, "  %s\t%d\t%d\t%s\t%s\t%d\t%s\t%s\n", output.Cell(short(l.LogID), false), l.FirstSequence, l.LastSequence,
				connected, lag, l.Series, size(l.SizeBytes), received)
		}
		_ = t.Flush() // into b
		printListeners(b, s.Listeners)
	}
	return b.Flush()
}

func printListeners(b *bufio.Writer, listeners []listener) {
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	if len(listeners) > 0 {
		_, _ = fmt.Fprintln(t, "  LISTENER\tADDRESS\tPROTECTED BY\tEXPOSED")
	}
	for _, l := range listeners {
		by := "nothing"
		if some := l.protections(); len(some) > 0 {
			by = strings.Join(some, ", ")
		}
		exposed := "no"
		if l.Exposed {
			exposed = "yes"
		}
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", output.Cell(l.Name, false), output.Cell(l.Address, false), by, exposed)
	}
	_ = t.Flush() // into b
}

func (l *listener) protections() (some []string) {
	for _, p := range []struct {
		name string
		has  bool
	}{{"TLS", l.TLS}, {"client certificates", l.ClientCertificates}, {"passwords", l.Passwords}, {"policies", l.Policies}} {
		if p.has {
			some = append(some, p.name)
		}
	}
	return some
}
