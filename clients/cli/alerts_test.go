package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// alertStates are those of an alert, step by step, of which the first is not served.
var alertStates = []queryv1.Alert_State{
	queryv1.Alert_STATE_INACTIVE, queryv1.Alert_STATE_PENDING, queryv1.Alert_STATE_FIRING, queryv1.Alert_STATE_INACTIVE,
	queryv1.Alert_STATE_PENDING, queryv1.Alert_STATE_INACTIVE,
}

func alertAt(step int, previous queryv1.Alert_State) *queryv1.EvaluateRulesResponse {
	at := timestamppb.New(time.UnixMilli(t0 + int64(step)*stepTime))
	a := &queryv1.Alert{
		Labels:      labels("alertname", "High", "job", "a"),
		Annotations: labels("summary", "it is high"),
		State:       alertStates[step], Previous: previous, Value: float64(step) + 0.5, ActiveAt: timestamppb.New(time.UnixMilli(t0)), GeneratorUrl: "http://x/graph",
	}
	if step == 2 || step == 3 {
		a.FiredAt = timestamppb.New(time.UnixMilli(t0 + 2*stepTime))
	}
	return &queryv1.EvaluateRulesResponse{
		Group: "g", Alerts: []*queryv1.Alert{a}, Cursor: fmt.Sprint("c", step), Evaluated: at,
		Timeseries: []*metricsv1.TimeSeries{float(float64(step), "__name__", "record")},
		Failures:   []*queryv1.RuleFailure{{Rule: "bad", Error: "it failed"}},
	}
}

// ruling serves the steps after the cursor. Each stream breaks after one, so that the next
// comes from another server.
func ruling(servers int) []*metricstest.Server {
	all := make([]*metricstest.Server, servers)
	for i := range all {
		all[i] = &metricstest.Server{
			Status: &metricsv1.GetStatusResponse{Instance: fmt.Sprint(i), Uptime: durationpb.New(time.Hour)},
			Rules: func(_ context.Context, call *metricstest.RulesCall) error {
				after := 0
				if c := call.Request.GetCursor(); c != "" {
					_, _ = fmt.Sscanf(c, "c%d", &after)
				}
				if call.Request.GetActive() && alertStates[after] != queryv1.Alert_STATE_INACTIVE {
					if err := call.Send(alertAt(after, alertStates[after])); err != nil {
						return err
					}
				}
				if after+1 == len(alertStates) {
					return call.Send(&queryv1.EvaluateRulesResponse{Event: &queryv1.EvaluateRulesResponse_End{End: &metricsv1.End{}}})
				}
				if err := call.Send(alertAt(after+1, alertStates[after])); err != nil {
					return err
				}
				metricstest.Abort()
				return nil
			},
		}
	}
	return all
}

func startAll(t *testing.T, all []*metricstest.Server) string {
	addresses := make([]string, len(all))
	for i, s := range all {
		addresses[i] = s.Start(t)
	}
	return strings.Join(addresses, ",")
}

func ruleFile(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(path, []byte("groups: []"), 0o600))
	return path
}

func TestAlertsPrinted(t *testing.T) {
	address := startAll(t, ruling(2))
	at := func(step int) string {
		return time.UnixMilli(t0 + int64(step)*stepTime).UTC().Format(time.RFC3339)
	}
	var want strings.Builder
	for step, state := range []string{1: "pending ", 2: "firing  ", 3: "resolved", 4: "pending ", 5: "inactive"} {
		if step > 0 {
			fmt.Fprintf(&want, "%s %s High{job=\"a\"} %d.5 {summary=\"it is high\"}\n", at(step), state, step)
		}
	}
	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		r := runCLI(t, t.Context(), "alerts", "-a", address, "--protocol", protocol, "--rules", ruleFile(t))
		require.Equal(t, ExitOK, r.code, r.stderr)
		require.Equal(t, want.String(), r.stdout)
		require.Equal(t, 1, strings.Count(r.stderr, "group g, rule bad: it failed"), "each is told once")
	}
	r := runCLI(t, t.Context(), "alerts", "-a", address, "--rules", ruleFile(t), "--records", "-o", "json")
	require.Equal(t, ExitOK, r.code, r.stderr)
	require.Contains(t, r.stdout, `{"metric":{"__name__":"record"}`)
	require.Contains(t, r.stdout, `{"name":"High","group":"g","state":"resolved","previous":"firing","value":"3.5","labels":{"alertname":"High","job":"a"},"annotations":{"summary":"it is high"},"at":"`)
}

// A command gets each change once, though each comes from another server, and its cursor
// is kept when the command has succeeded, and not before.
func TestAlertsExec(t *testing.T) {
	dir := t.TempDir()
	address, rules, cursor := startAll(t, ruling(2)), ruleFile(t), filepath.Join(dir, "cursor")
	// It fails at first, each time.
	command := fmt.Sprintf(`cd %s; read -r line; if [ -e failed ]; then rm failed; else touch failed; exit 1; fi
		cut -d' ' -f1 cursor >> cursors 2>/dev/null || echo none >> cursors; echo "$ALERT_NAME $ALERT_STATE $ALERT_PREVIOUS $ALERT_GROUP $ALERT_VALUE" >> got; echo "$line" >> lines`, dir)
	r := runCLI(t, t.Context(), "alerts", "-a", address, "--rules", rules, "--cursor-file", cursor, "--exec", command)
	require.Equal(t, ExitOK, r.code, r.stderr)
	read := func(name string) []string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	require.Equal(t, []string{
		"High pending inactive g 1.5", "High firing pending g 2.5", "High resolved firing g 3.5", "High pending inactive g 4.5", "High inactive pending g 5.5",
	}, read("got"))
	require.Equal(t, []string{"c1", "c2", "c3", "c4"}, read("cursors")[len(read("cursors"))-4:], "each is run when the cursor of the one before is kept")
	require.Contains(t, r.stderr, "trying again")
	for _, line := range read("lines") {
		require.True(t, json.Valid([]byte(line)))
	}
	r = runCLI(t, t.Context(), "alerts", "-a", address, "--rules", rules, "--cursor-file", cursor, "--exec", command)
	require.Equal(t, ExitOK, r.code, r.stderr)
	require.Empty(t, r.stdout, "all was delivered")
}

// received is what an Alertmanager was sent.
type received struct {
	mu     sync.Mutex
	alerts []map[string]any
	bad    int // requests that it refuses
	user   string
}

func (r *received) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bad > 0 {
		r.bad--
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	body, _ := io.ReadAll(req.Body)
	var alerts []map[string]any
	if req.Method != http.MethodPost || req.URL.Path != "/am/api/v2/alerts" || req.Header.Get("Content-Type") != "application/json" || json.Unmarshal(body, &alerts) != nil {
		http.Error(w, "wrong", http.StatusBadRequest)
		return
	}
	r.user, _, _ = req.BasicAuth()
	r.alerts = append(r.alerts, alerts...)
}

// states are those of what was received: when it fires, and whether it ended.
func (r *received) states() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.alerts {
		ends, _ := time.Parse(time.RFC3339, a["endsAt"].(string))
		state := "fires"
		if ends.Before(time.Now()) {
			state = "ended"
		}
		all = append(all, state)
	}
	return all
}

// Alertmanagers get what fires and what is resolved, from whichever server it comes. One
// that fails does not keep the others from it.
func TestAlertsToAlertmanagers(t *testing.T) {
	good, failing := &received{bad: 1}, &received{bad: 1 << 30}
	server, other := httptest.NewServer(good), httptest.NewServer(failing)
	defer server.Close()
	defer other.Close()
	withUser := strings.Replace(server.URL, "http://", "http://user:secret@", 1) + "/am/"
	address, rules := startAll(t, ruling(2)), ruleFile(t)
	r := runCLI(t, t.Context(), "alerts", "-a", address, "--rules", rules, "--alertmanager", withUser, "--alertmanager", other.URL)
	require.Equal(t, ExitOK, r.code, r.stderr)
	require.Equal(t, []string{"fires", "ended"}, good.states())
	require.Equal(t, "user", good.user)
	first := good.alerts[0]
	require.Equal(t, map[string]any{"alertname": "High", "job": "a"}, first["labels"])
	require.Equal(t, map[string]any{"summary": "it is high"}, first["annotations"])
	require.Equal(t, "http://x/graph", first["generatorURL"])
	require.Equal(t, time.UnixMilli(t0+2*stepTime).UTC().Format(time.RFC3339Nano), first["startsAt"])
	require.Contains(t, r.stderr, "503")
	require.NotContains(t, r.stderr, "secret")
	require.NotContains(t, r.stdout, "secret")
}

// What fires is sent again, also by a run that goes on after the step at which it began to.
func TestAlertsAreSentAgain(t *testing.T) {
	good := &received{}
	server := httptest.NewServer(good)
	defer server.Close()
	quiet := &metricstest.Server{Rules: func(ctx context.Context, call *metricstest.RulesCall) error {
		if call.Request.GetActive() {
			if err := call.Send(alertAt(2, queryv1.Alert_STATE_FIRING)); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for len(good.states()) < 3 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	r := runCLI(t, ctx, "alerts", "-a", quiet.Start(t), "--rules", ruleFile(t), "--cursor", "c2", "--alertmanager", server.URL+"/am", "--alertmanager-resend", "10ms", "--timeout", "1m")
	require.GreaterOrEqual(t, len(good.states()), 3, r.stderr)
	require.Empty(t, r.stdout, "it was printed before")
}

func TestAlertsUsage(t *testing.T) {
	rules := ruleFile(t)
	large := filepath.Join(t.TempDir(), "large")
	require.NoError(t, os.WriteFile(large, make([]byte, maxRules+1), 0o600))
	for want, args := range map[string][]string{
		"required flag(s) '--rules'":   {},
		"no such file":                 {"--rules", "/none"},
		"bytes, 524288 at most":        {"--rules", large},
		"--cursor excludes":            {"--rules", rules, "--cursor", "c", "--since", "1h"},
		"must be positive":             {"--rules", rules, "--interval", "0s"},
		"--alertmanager: ftp://x":      {"--rules", rules, "--alertmanager", "ftp://x"},
		"--alertmanager: it is no URL": {"--rules", rules, "--alertmanager", "http://u:p@[x"},
		"it has no certificate":        {"--rules", rules, "--alertmanager", "https://x", "--alertmanager-ca-file", rules},
		"want what a server gave":      {"--rules", rules, "--cursor", "a b"},
		"--end: ":                      {"--rules", rules, "--end", "soon"},
	} {
		r := runCLI(t, t.Context(), append([]string{"alerts"}, args...)...)
		require.Equal(t, ExitUsage, r.code, want)
		require.Contains(t, r.stderr, want)
	}
}
