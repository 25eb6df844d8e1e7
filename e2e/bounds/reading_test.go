package bounds

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
	"github.com/promgrpc/exporter/internal/cursor"
)

// TestReading has callers of the API attack a server that others read from.
func TestReading(t *testing.T) {
	r := newRig(t, harness.Options{Server: []string{"--stream.stall-timeout=5s"}})
	r.withstands(t, []attack{
		{name: "program of a selector", callers: 64, once: dearSelector, refusals: []string{"--limit.selector-size"}},
		{name: "slow match", callers: 16, once: slowMatch, refusals: []string{"--limit.evaluation"}},
		{name: "slow match by GET", callers: 16, once: slowGet, refusals: []string{"--limit.evaluation"}},
		{name: "everything for an hour", callers: 16, once: everything, refusals: []string{"--limit.query-"}},
		{name: "steps of subqueries", callers: 16, once: subqueries, refusals: []string{"--limit.query-samples"}},
		{name: "all label values", callers: 300, once: allValues, refusals: []string{"--limit.call-bytes", "served"}},
		{name: "conflation", callers: 100, once: conflate, streams: 100},
		{name: "slow readers", callers: 40, once: readSlowly, streams: 40},
		{name: "forged cursors", callers: 32, once: forgedCursor, streams: 32},
		{name: "gzip bombs", callers: 32, once: gzipBomb, refusals: []string{"resource_exhausted", "429"}},
	})
	r.fallsBack(t, 0)
}

// longest is how long a selector may be.
func longest() int {
	field := (&metricsv1.GetMetricsRequest{}).ProtoReflect().Descriptor().Fields().ByName("selectors")
	rules := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	return int(rules.GetRepeated().GetItems().GetString().GetMaxBytes())
}

// api returns a client of the attacked server by one of the protocols, in turn.
func (a *attacker) api(n int) metricsv1connect.MetricsServiceClient {
	protocol := [][]connect.ClientOption{{connect.WithGRPC()}, {connect.WithGRPCWeb()}, {}}[n%3]
	return metricsv1connect.NewMetricsServiceClient(a.rpc, "http://"+a.r.RPC(0), append(protocol, connect.WithSendGzip())...)
}

// drain reads a stream to its end.
func drain(ctx context.Context, api metricsv1connect.MetricsServiceClient, q *metricsv1.GetMetricsRequest) error {
	s, err := api.GetMetrics(ctx, connect.NewRequest(q))
	if err != nil {
		return err
	}
	defer s.Close()
	for s.Receive() {
		continue
	}
	return s.Err()
}

// dearSelector has a program of as many instructions as fit into its text.
func dearSelector(ctx context.Context, a *attacker, n int) string {
	const one = `x0.{1000}`
	text := `{path=~"` + strings.Repeat(one, (longest()-16)/len(one)) + `"}`
	return told(drain(ctx, a.api(n), &metricsv1.GetMetricsRequest{Selectors: []string{text}}))
}

// slowSelector takes long to find that a value does not match it.
func slowSelector(n int) string {
	return `{path=~"` + strings.Repeat(`(/|[a-z0-9]|.){0,30}`, 60) + `[x-z]",id!="` + fmt.Sprint(n) + `"}`
}

func slowMatch(ctx context.Context, a *attacker, n int) string {
	_, err := a.api(n).GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{Selectors: []string{slowSelector(n)}}))
	return told(err)
}

func slowGet(ctx context.Context, a *attacker, n int) string {
	message := fmt.Sprintf(`{"selectors":[%q]}`, slowSelector(n))
	target := "http://" + a.r.RPC(0) + metricsv1connect.MetricsServiceGetLabelNamesProcedure +
		"?connect=v1&encoding=json&message=" + url.QueryEscape(message)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return err.Error()
	}
	return a.answer(a.web, r)
}

// everything evaluates all series over an hour, in as many steps as Prometheus has them.
func everything(ctx context.Context, a *attacker, n int) string {
	now := time.Now().Unix()
	return a.evaluate(ctx, "query_range", url.Values{
		"query": {fmt.Sprintf(`rate({__name__=~".+",id!="%d"}[1h])`, n)}, "start": {fmt.Sprint(now - 3600)}, "end": {fmt.Sprint(now)}, "step": {"1"},
	})
}

// subqueries ask for a little in very many steps.
func subqueries(ctx context.Context, a *attacker, n int) string {
	return a.evaluate(ctx, "query", url.Values{"query": {fmt.Sprintf("max_over_time(max_over_time(vector(%d)[1y:1s])[1y:1s])", n)}})
}

// evaluate asks Prometheus' HTTP API.
func (a *attacker) evaluate(ctx context.Context, path string, parameters url.Values) string {
	target := "http://" + a.r.RPC(0) + "/api/v1/" + path + "?" + parameters.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return err.Error()
	}
	return a.answer(a.web, r)
}

// answer is the status of an HTTP request, and the limit that it names.
func (a *attacker) answer(client *http.Client, r *http.Request) string {
	res, err := client.Do(r)
	if err != nil {
		return brief(err.Error())
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return brief(err.Error())
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", res.StatusCode, limitFlag.FindString(string(text))))
}

func allValues(ctx context.Context, a *attacker, n int) string {
	_, err := a.api(n).GetLabelValues(ctx, connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "path"}))
	return told(err)
}

// conflate follows everything, once an hour.
func conflate(ctx context.Context, a *attacker, n int) string {
	return told(drain(ctx, a.api(n), &metricsv1.GetMetricsRequest{Follow: true, MinInterval: durationpb.New(time.Hour)}))
}

// readSlowly follows everything, and takes a message just before it would be taken
// to have stalled.
func readSlowly(ctx context.Context, a *attacker, _ int) string {
	conn, err := a.grpc(a.r.RPC(0), grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	s, err := metricsv1grpc.NewMetricsServiceClient(conn).GetMetrics(ctx, &metricsv1.GetMetricsRequest{Follow: true})
	for err == nil {
		if _, err = s.Recv(); err == nil {
			select {
			case <-ctx.Done():
			case <-time.After(a.r.configs.Server.StallTimeout * 8 / 10):
			}
		}
	}
	return brief(err.Error())
}

// forgedCursor says that a snapshot is under way that nobody has begun, and reads
// nothing of it.
func forgedCursor(ctx context.Context, a *attacker, n int) string {
	status, err := a.api(0).GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
	if err != nil {
		return told(err)
	}
	c, err := cursor.Parse(status.Msg.GetCursor())
	if err != nil {
		return err.Error()
	}
	forged := cursor.Cursor{Positions: c.Positions[:1]}
	p := &forged.Positions[0]
	p.Sequence -= min(p.Sequence-1, uint64(n%100))
	p.Entries, p.SnapshotRef, p.SnapshotTime = 0, 1, time.Now().UnixMilli()
	s, err := a.api(n).GetMetrics(ctx, connect.NewRequest(&metricsv1.GetMetricsRequest{
		Start: &metricsv1.GetMetricsRequest_Cursor{Cursor: forged.String()},
	}))
	if err != nil {
		return told(err)
	}
	defer s.Close()
	if !s.Receive() {
		return told(s.Err())
	}
	<-ctx.Done()
	return "held"
}

// gzipBomb is a gigabyte of nothing, as a unary call and as a stream's message.
func gzipBomb(ctx context.Context, a *attacker, n int) string {
	target, kind, encoding, body := metricsv1connect.MetricsServiceGetStatusProcedure, "application/proto", "Content-Encoding", bomb()
	if n%2 == 1 {
		target, kind, encoding = metricsv1connect.MetricsServiceGetMetricsProcedure, "application/connect+proto", "Connect-Content-Encoding"
		body = append(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(body))), body...)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.r.RPC(0)+target, bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Connect-Protocol-Version", "1")
	r.Header.Set(encoding, "gzip")
	res, err := a.web.Do(r)
	if err != nil {
		return brief(err.Error())
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return brief(err.Error())
	}
	if bytes.Contains(text, []byte("resource_exhausted")) {
		return "resource_exhausted"
	}
	return fmt.Sprintf("%d %s", res.StatusCode, base64.StdEncoding.EncodeToString(text[:min(30, len(text))]))
}

var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // The level is valid.
	for range 1 << 10 {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	_ = w.Close()
	return b.Bytes()
})
