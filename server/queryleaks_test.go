package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
)

// writtenBy is how long after all was written both worlds have come to a time, in ms.
const writtenBy = 20 * second

// askQuery asks both worlds for the same steps, which are due in both.
func (w *worlds) askQuery() {
	selector := guesses[w.random.IntN(len(guesses))]
	expressions := []string{"S", "count(S)", "count by (__name__) (S)", "sum(rate(S[1m]))", "S + on () S", "absent(S)", "scalar(S)", "S[1m]"}
	req := &queryRequest{
		Expression: strings.ReplaceAll(expressions[w.random.IntN(len(expressions))], "S", selector),
		Step:       secs(1), Delay: millis(writtenBy), LabelReferences: w.random.IntN(2) == 0, OnChange: w.random.IntN(2) == 0,
	}
	// The two worlds were not written in the same milliseconds.
	end := w.written / 10000 * 10000
	req.Start, req.End = sinceQuery(end-w.random.Int64N(7)*second), sinceQuery(end).Since
	if w.random.IntN(3) == 0 {
		req.Start = afterQuery(w.pick()[0])
	}
	v := ways[w.random.IntN(len(ways))]
	var texts, bytes [2]string
	for world, s := range w.servers {
		c, tap := v.queryAs(w.t, s, "a")
		texts[world], bytes[world] = toldOf(w, c, req), tap.taken()
	}
	require.Empty(w.t, difference(texts[0], texts[1]), "%s: %v", v.name, req)
	require.Len(w.t, bytes[1], len(bytes[0]), "%s: %v", v.name, req)
	if strings.Contains(texts[0], "samples") {
		w.answers++
	}
	if !strings.Contains(selector, hidden) {
		require.NotContains(w.t, bytes[1], hidden, "%s: %v", v.name, req)
	}
}

// askRules has both worlds evaluate the same rules, at steps that are due in both.
func (w *worlds) askRules() {
	selector := guesses[w.random.IntN(len(guesses))]
	quoted := strings.ReplaceAll(fmt.Sprintf("%q", selector), "'", "''")
	req := &rulesRequest{
		Rules: strings.NewReplacer("S", strings.ReplaceAll(selector, "'", "''"), "Q", quoted).Replace(
			`groups: [{name: g, interval: 1s, rules: [{record: r, expr: 'count(S)'}, {alert: A, expr: 'S', for: 1s, annotations: {q: '{{ query Q | len }}'}}, {alert: B, expr: 'r > 3'}]}]`),
		Delay: millis(writtenBy), Active: w.random.IntN(2) == 0,
	}
	end := w.written / 10000 * 10000
	req.Start, req.End = sinceRules(end-w.random.Int64N(4)*second), sinceRules(end).Since
	v := ways[w.random.IntN(len(ways))]
	var texts, bytes [2]string
	for world, s := range w.servers {
		c, tap := v.queryAs(w.t, s, "a")
		got, err := rulesAll(w.t.Context(), c, req)
		texts[world], bytes[world] = textOf(w, got, err), tap.taken()
	}
	require.Empty(w.t, difference(texts[0], texts[1]), "%s: %v", v.name, req)
	require.Len(w.t, bytes[1], len(bytes[0]), "%s: %v", v.name, req)
	if strings.Contains(texts[0], "alerts") {
		w.alerts++
	}
	if !strings.Contains(selector, hidden) {
		require.NotContains(w.t, bytes[1], hidden, "%s: %v", v.name, req)
	}
}

func rulesAll(ctx context.Context, c queryv1connect.QueryServiceClient, req *rulesRequest) (got []*rulesResponse, err error) {
	stream, err := c.EvaluateRules(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		got = append(got, stream.Msg())
	}
	return got, stream.Err()
}

// toldOf is what a client learns from a query.
func toldOf(w *worlds, c queryv1connect.QueryServiceClient, req *queryRequest) string {
	got, err := queryAll(w.t.Context(), c, req)
	return textOf(w, got, err)
}

// textOf is what a client learns from messages and an error.
func textOf[M proto.Message](w *worlds, got []M, err error) string {
	var text strings.Builder
	for _, m := range got {
		fmt.Fprintf(&text, "%s\n", stable(m))
	}
	if err == nil {
		return text.String()
	}
	fmt.Fprintf(&text, "%v\n", err)
	var known *connect.Error
	if errors.As(err, &known) {
		for _, d := range known.Details() {
			m, err := d.Value()
			require.NoError(w.t, err)
			fmt.Fprintf(&text, "%s\n", stable(m))
		}
	}
	return text.String()
}
