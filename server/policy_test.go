package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
)

// twoTeams lets each of two teams read its own series, with a token that is its name.
const twoTeams = `
cursor_key_files: [cursor.key]
policies:
- name: team-a
  token_files: [a.token]
  read: {selectors: ['{team="a"}']}
- name: team-b
  token_files: [b.token]
  read: {selectors: ['{team="b"}'], status: true}
- name: operators
  token_files: [all.token]
  read: {logs: true, status: true}
- name: writers
  token_files: [writer.token]
  write: {}
`

// accessFile writes an access file, with the files that it names.
func accessFile(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a.token": "a", "b.token": "b", "all.token": "all", "writer.token": "writer", "access.yml": text,
		"cursor.key": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, cursor.KeySize)),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return filepath.Join(dir, "access.yml")
}

// restricted is the configuration of a server with an access file.
func restricted(t testing.TB, text string) server.Config {
	c := testConfig(t)
	c.AccessFile = accessFile(t, text)
	return c
}

// ofTwoTeams is a log with series of the teams, and metadata of each.
func ofTwoTeams(t testing.TB) *source {
	src := newSource(t)
	writeTeams(src)
	return src
}

// writeTeams writes the series of the teams to a log, in one block each.
func writeTeams(src *source) {
	at := now()
	a := src.block(point{series: `up{team="a"}`, t: at, v: 1}, point{series: `of_a{team="a",only_a="of-a"}`, t: at, v: 2})
	a.Metadata = []segment.Metadata{{Family: "of_a", Type: 2, Help: "Help of a."}}
	src.append(a)
	b := src.block(point{series: `up{team="b"}`, t: at, v: 3}, point{series: `of_b_total{team="b",only_b="of-b"}`, t: at, v: 4})
	b.Metadata = []segment.Metadata{{Family: "of_b", Type: 1, Help: "Help of b."}}
	src.append(b)
	src.write(point{series: `nobodys`, t: at, v: 5})
}

// rightsOfTokens is what becomes of each call by each token, 0 where it is answered.
func rightsOfTokens() map[string]map[string]connect.Code {
	answered := map[string]connect.Code{}
	var everything []string
	for name := range calls {
		answered[name] = 0
		everything = append(everything, name)
	}
	with := func(code connect.Code, denied ...string) map[string]connect.Code {
		c := maps.Clone(answered)
		for _, name := range denied {
			c[name] = code
		}
		return c
	}
	return map[string]map[string]connect.Code{
		"":       with(connect.CodeUnauthenticated, everything...),
		"wrong":  with(connect.CodeUnauthenticated, everything...),
		"a":      with(connect.CodePermissionDenied, "ReadLogs", "GetStatus", "ListSegments"),
		"b":      with(connect.CodePermissionDenied, "ReadLogs"),
		"all":    answered,
		"writer": with(connect.CodePermissionDenied, everything...),
	}
}

func TestRightsOfEveryCall(t *testing.T) {
	s := startFed(t, restricted(t, twoTeams), ofTwoTeams(t))
	requireRights(t, s, func() float64 { return s.metric(t, "promgrpc_server_denied_calls_total") })
	require.NotContains(t, s.log.String(), "wrong", "a token is nobody's business")
	require.Contains(t, s.log.String(), `msg="call denied" peer=127.0.0.1 call=/promgrpc.metrics.v1.MetricsService/`)
}

// requireRights makes each call with each token. denied is how many were denied so far.
func requireRights(t *testing.T, s listening, denied func() float64) {
	t.Helper()
	overWays(t, func(t *testing.T, v way) {
		for token, want := range rightsOfTokens() {
			c, w := v.as(t, s, token)
			for name, call := range calls {
				before := denied()
				err := call(t.Context(), c)
				if want[name] == 0 {
					require.NoError(t, err, "%s by %q", name, token)
					continue
				}
				require.Equal(t, want[name], connect.CodeOf(err), "%s by %q: %v", name, token, err)
				require.InDelta(t, before+1, denied(), 0)
				switch {
				case token == "":
					require.ErrorContains(t, err, "bearer token")
				case want[name] == connect.CodePermissionDenied:
					require.ErrorContains(t, err, "read")
				}
				if answered := w.taken(); token != "b" {
					require.NotContains(t, answered, "team-b")
					require.NotContains(t, answered, "of-b")
				}
			}
		}
	})
}

// Who sends a token that nobody has is not let in by anything else; the health is
// anybody's, and the API is whoever's who has any policy.
func TestWhatNeedsNoRight(t *testing.T) {
	s := startFed(t, restricted(t, twoTeams), ofTwoTeams(t))
	require.True(t, healthy(t, s))
	client, stop := httpClient(true)
	defer stop()
	for token, allowed := range map[string]bool{"": false, "wrong": false, "writer": true} {
		w := &tapped{RoundTripper: client.Transport, token: token}
		reflection := grpcreflect.NewClient(&http.Client{Transport: w}, "http://"+s.RPCAddr().String(), connect.WithGRPC())
		stream := reflection.NewStream(t.Context())
		_, err := stream.ListServices()
		require.Equal(t, allowed, err == nil, "%q: %v", token, err)
		_, _ = stream.Close()
	}
	res, err := http.Get("http://" + s.RPCAddr().String() + "/")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode, "the page, which asks for a token")
}

// Where there are users, a token opens what its policy is for, and nothing else: nobody
// looks at the token of who gets the page.
func TestTokensAreNoPasswords(t *testing.T) {
	config := newCerts(t).config(rpcUsers)
	config.AccessFile = accessFile(t, twoTeams+"- name: users\n  users: [me]\n  read: {}\n")
	s := startFed(t, config, ofTwoTeams(t))
	for authorization, want := range map[string]struct {
		call connect.Code
		page int
	}{
		"":             {connect.CodeUnauthenticated, http.StatusUnauthorized},
		"Bearer wrong": {connect.CodeUnauthenticated, http.StatusUnauthorized},
		"Bearer a":     {0, http.StatusUnauthorized},
		right:          {0, http.StatusOK},
	} {
		g := guest{authorization: authorization}
		for protocol, err := range g.calls(t, s.RPCAddr().String()) {
			if want.call == 0 {
				require.NoError(t, err, "%s by %q", protocol, authorization)
				continue
			}
			require.Equal(t, want.call, codeOf(err), "%s by %q: %v", protocol, authorization, err)
		}
		for _, http2 := range []bool{false, true} {
			status, _ := g.page(t, s.RPCAddr().String(), http2)
			require.Equal(t, want.page, status, "%q", authorization)
		}
	}
}

// Who sends what is no token, nor anybody's password here, is not served as who sends
// nothing.
func TestOtherCredentialsAreNotPassedOver(t *testing.T) {
	s := startFed(t, restricted(t, twoTeams+"- name: guests\n  anonymous: true\n  read: {}\n"), ofTwoTeams(t))
	ended := guest{}.calls(t, s.RPCAddr().String())
	for protocol, err := range ended {
		require.NoError(t, err, protocol)
	}
	for _, credential := range []string{right, "Digest a", "Bearera"} {
		for protocol, err := range (guest{authorization: credential}).calls(t, s.RPCAddr().String()) {
			require.Equal(t, connect.CodeUnauthenticated, codeOf(err), "%s: %v", protocol, err)
		}
	}
	require.EqualValues(t, 3*len(ended), s.metricOf(t, "promgrpc_server_denied_calls_total", "unknown_scheme"))
}

// Each team gets its own series, and no trace of the other's, by every call.
func TestEachTeamSeesItsOwn(t *testing.T) {
	s := startFed(t, restricted(t, twoTeams), ofTwoTeams(t))
	requireOwnSeries(t, s)
	requireNoTeams(t, s.registry)
}

// requireOwnSeries asks for all that there is, as each team.
func requireOwnSeries(t *testing.T, s listening) {
	t.Helper()
	since := &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(1))}
	overWays(t, func(t *testing.T, v way) {
		for token, other := range map[string]string{"a": "b", "b": "a"} {
			c, w := v.as(t, s, token)
			own := func(series ...string) {
				t.Helper()
				answered := w.taken()
				require.NotContains(t, answered, "of-"+other)
				require.NotContains(t, answered, "of_"+other)
				require.NotContains(t, answered, "nobodys")
				for _, text := range series {
					require.Contains(t, answered, text)
				}
			}
			for name, req := range map[string]*getRequest{
				"snapshot":         {},
				"since":            {Start: since},
				"everything":       {Selectors: []string{`{}`}},
				"the other's":      {Selectors: []string{`{team="` + other + `"}`, `{team!="` + token + `"}`, `up`, `{__name__=~"of.*"}`}},
				"references":       {LabelReferences: true},
				"references since": {LabelReferences: true, Start: since},
			} {
				got, err := get(t.Context(), c, req)
				require.NoError(t, err, name)
				require.Len(t, lines(got...), 2, name)
				own("of-" + token)
				require.NotEmpty(t, lastCursor(got), name)
				for _, r := range got {
					if r.GetCursor() == "" { // of a router, before each group has said where it is
						continue
					}
					_, err := get(t.Context(), c, &getRequest{Start: after(r.GetCursor())})
					require.NoError(t, err, "resumed at %q", r.GetCursor())
					own()
				}
			}
			names, err := c.GetLabelNames(t.Context(), connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
			require.NoError(t, err)
			require.Equal(t, []string{"__name__", "only_" + token, "team"}, names.Msg.GetNames())
			values, err := c.GetLabelValues(t.Context(), connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "team", Selectors: []string{`{team=~".+"}`}}))
			require.NoError(t, err)
			require.Equal(t, []string{token}, values.Msg.GetValues())
			metadata, err := c.GetMetadata(t.Context(), connect.NewRequest(&metricsv1.GetMetadataRequest{}))
			require.NoError(t, err)
			require.Len(t, metadata.Msg.GetMetadata(), 1)
			require.Equal(t, "of_"+token, metadata.Msg.GetMetadata()[0].GetMetricFamilyName())
			metadata, err = c.GetMetadata(t.Context(), connect.NewRequest(&metricsv1.GetMetadataRequest{MetricFamilyName: "of_" + other}))
			require.NoError(t, err)
			require.Empty(t, metadata.Msg.GetMetadata())
			own()
		}
	})
}

// requireNoTeams wants no name of a team or of its series in metrics.
func requireNoTeams(t *testing.T, metrics prometheus.Gatherer) {
	t.Helper()
	families, err := metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			require.NotRegexp(t, "team-|of-[ab]", fmt.Sprint(m.GetLabel()), "metrics are for everybody: %s", f.GetName())
		}
	}
}

// A cursor is the policy's that it was given to, at any server that has the key.
func TestCursorsOfPolicies(t *testing.T) {
	src := ofTwoTeams(t)
	one, other := startFed(t, restricted(t, twoTeams), src), startFed(t, restricted(t, twoTeams), src)
	requireOwnCursors(t, one, other, src, func() { one.await(t, src); other.await(t, src) })
}

// requireOwnCursors goes on with the cursors of each policy elsewhere, where they are of use
// to nobody else. await waits until both have what was written.
func requireOwnCursors(t *testing.T, one, other listening, src *source, await func()) {
	t.Helper()
	overWays(t, func(t *testing.T, v way) {
		a, _ := v.as(t, one, "a")
		got, err := get(t.Context(), a, &getRequest{})
		require.NoError(t, err)
		sealed := lastCursor(got)
		_, err = cursor.Parse(sealed)
		require.Error(t, err, "it tells nothing")

		elsewhere, _ := v.as(t, other, "a")
		src.write(point{series: `up{team="a"}`, t: now() + 1, v: 6}, point{series: `up{team="b"}`, t: now() + 1, v: 7})
		await()
		got, err = get(t.Context(), elsewhere, &getRequest{Start: after(sealed)})
		require.NoError(t, err)
		require.Len(t, lines(got...), 1)

		operators, _ := v.as(t, one, "all")
		got, err = get(t.Context(), operators, &getRequest{})
		require.NoError(t, err)
		unsealed := lastCursor(got)
		_, err = cursor.Parse(unsealed)
		require.NoError(t, err)
		b, _ := v.as(t, one, "b")
		for name, refused := range map[string]struct {
			client metricsv1connect.MetricsServiceClient
			cursor string
		}{
			"the other's":           {b, sealed},
			"of an unrestricted":    {a, unsealed},
			"to an unrestricted":    {operators, sealed},
			"changed":               {a, sealed[:len(sealed)-2] + "AA"},
			"made up":               {a, "s." + strings.Repeat("A", 300)},
			"that is none":          {a, "s."},
			"that is none, neither": {a, "x"},
		} {
			_, err := get(t.Context(), refused.client, &getRequest{Start: after(refused.cursor)})
			require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), "%s: %v", name, err)
		}
		status, err := b.GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
		require.NoError(t, err)
		got, err = get(t.Context(), b, &getRequest{Start: after(status.Msg.GetCursor())})
		require.NoError(t, err)
		require.Empty(t, lines(got...))
	})
}

// A policy that changes ends the streams that it let in, and no others. Each resumes where
// it was, with the rights of then.
func TestPolicyChanges(t *testing.T) {
	src := ofTwoTeams(t)
	c := restricted(t, twoTeams)
	s := startFed(t, c, src)
	follow := func(v way, token, cursor string) (*connect.ServerStreamForClient[getResponse], error) {
		client, _ := v.as(t, s, token)
		req := &getRequest{Follow: true, HeartbeatInterval: millis(100)}
		if cursor != "" {
			req.Start = after(cursor)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		return client.GetMetrics(ctx, connect.NewRequest(req))
	}
	synced := func(stream *connect.ServerStreamForClient[getResponse]) (cursor string) {
		for stream.Receive() {
			if stream.Msg().GetSynced() != nil {
				return stream.Msg().GetCursor()
			}
		}
		require.NoError(t, stream.Err())
		return ""
	}
	ended := func(stream *connect.ServerStreamForClient[getResponse]) (interrupted *metricsv1.StreamInterrupted) {
		for stream.Receive() {
		}
		requireCode(t, connect.CodeUnavailable, stream.Err())
		return detail[*metricsv1.StreamInterrupted](t, stream.Err())
	}
	change := func(from, to string) {
		text, err := os.ReadFile(c.AccessFile)
		require.NoError(t, err)
		require.Contains(t, string(text), from)
		require.NoError(t, os.WriteFile(c.AccessFile, []byte(strings.Replace(string(text), from, to, 1)), 0o600))
	}
	for i, v := range ways {
		a, err := follow(v, "a", "")
		require.NoError(t, err)
		b, err := follow(v, "b", "")
		require.NoError(t, err)
		synced(a)
		synced(b)
		// More series.
		change(`'{team="a"}'`, `'{team="a"}', '{only_a="of-a"}'`)
		at := ended(a)
		again, err := follow(v, "a", at.GetCursor())
		require.NoError(t, err)
		synced(again)
		// Another token.
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(c.AccessFile), "a.token"), []byte("second"), 0o600))
		at = ended(again)
		gone, err := follow(v, "a", at.GetCursor())
		if err == nil {
			gone.Receive()
			err = gone.Err()
		}
		requireCode(t, connect.CodeUnauthenticated, err)
		moved, err := follow(v, "second", at.GetCursor())
		require.NoError(t, err)
		synced(moved)
		require.NoError(t, moved.Close())
		// The other has noticed nothing.
		src.write(point{series: `up{team="b"}`, t: now() + int64(i), v: float64(100 + i)})
		for b.Receive() && len(lines(b.Msg())) == 0 {
		}
		require.NoError(t, b.Err())
		require.NoError(t, b.Close())
		change(`, '{only_a="of-a"}'`, "")
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(c.AccessFile), "a.token"), []byte("a"), 0o600))
		require.Eventually(t, func() bool {
			client, _ := v.as(t, s, "a")
			_, err := get(t.Context(), client, &getRequest{})
			return err == nil
		}, patience, 10*time.Millisecond)
	}
}

// What all callers of a policy hold together is bounded, and the refusal names the field.
func TestBudgetsOfPolicies(t *testing.T) {
	src := ofTwoTeams(t)
	s := startFed(t, restricted(t, strings.NewReplacer(
		`['{team="a"}']`, `['{team="a"}'], streams: 2`, `['{team="b"}']`, `['{team="b"}'], memory: 80KiB`,
	).Replace(twoTeams)), src)
	held := make([]point, heldSeries)
	for i := range held {
		held[i] = point{series: fmt.Sprintf(`m{team="b",i="%d"}`, i), t: now(), v: 1}
	}
	overWays(t, func(t *testing.T, v way) {
		var open []*connect.ServerStreamForClient[getResponse]
		require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_streams") == 0 }, patience, time.Millisecond)
		for range 2 {
			a, _ := v.as(t, s, "a")
			stream, err := a.GetMetrics(t.Context(), connect.NewRequest(&getRequest{Follow: true}))
			require.NoError(t, err)
			require.True(t, stream.Receive(), "%v", stream.Err())
			open = append(open, stream)
		}
		a, _ := v.as(t, s, "a")
		_, err := get(t.Context(), a, &getRequest{})
		requireCode(t, connect.CodeResourceExhausted, err)
		require.True(t, hasDetail[*errdetails.RetryInfo](err), "%v", err)
		require.ErrorContains(t, err, "policy team-a: streams")
		operators, _ := v.as(t, s, "all")
		_, err = get(t.Context(), operators, &getRequest{})
		require.NoError(t, err, "others are not affected")
		for _, stream := range open {
			_ = stream.Close()
		}
		require.Eventually(t, func() bool { _, err := get(t.Context(), a, &getRequest{}); return err == nil }, patience, time.Millisecond)

		b, _ := v.as(t, s, "b")
		for what, call := range map[string]func() error{
			"a request": func() error {
				_, err := b.GetLabelValues(t.Context(), connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: strings.Repeat("x", 20000)}))
				return err
			},
			"what selectors compile to": func() error {
				_, err := b.GetLabelNames(t.Context(), connect.NewRequest(&metricsv1.GetLabelNamesRequest{Selectors: []string{`{x=~"a{1000}"}`}}))
				return err
			},
			"what a stream holds back": func() error {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				stream, err := b.GetMetrics(ctx, connect.NewRequest(&getRequest{Follow: true, MinInterval: secs(3600)}))
				require.NoError(t, err)
				defer stream.Close()
				for stream.Receive() {
					if isSynced(stream.Msg()) {
						src.write(held...)
					}
				}
				return stream.Err()
			},
		} {
			err := call()
			requireCode(t, connect.CodeResourceExhausted, err)
			require.ErrorContains(t, err, "policy team-b: memory", what)
		}
	})
	assert.Positive(t, s.metricOf(t, "promgrpc_server_over_limit_total", "policy-streams"))
	assert.Positive(t, s.metricOf(t, "promgrpc_server_over_limit_total", "policy-memory"))
}
