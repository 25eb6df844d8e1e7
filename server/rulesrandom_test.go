package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// flappingRules read what comes and goes, and fail now and then.
const flappingRules = `
groups:
- name: a
  interval: 5s
  rules:
  - {record: "r:sum", expr: "sum by (a) (m)"}
  - {record: "r:fails", expr: "m{a!=\"0\"} + on () group_left () m{a=~\"1|2\"}"}
  - {alert: Held, expr: "r:sum > 3", for: 10s, keep_firing_for: 15s, annotations: {all: '{{ with query "count(r:sum)" }}{{ . | first | value }}{{ end }}'}}
  - {alert: OfFailing, expr: "r:fails > 4", keep_firing_for: 20s, labels: {v: '{{ if gt $value 8.0 }}high{{ else }}low{{ end }}'}}
  - {alert: Fails, expr: "m > on () group_right () m{a=~\"3|4\"}", keep_firing_for: 10s}
- name: b
  interval: 7s
  query_offset: 11s
  limit: 2
  rules:
  - {alert: Limited, expr: "m > 3", for: 7s, keep_firing_for: 7s}
  - {record: "r:limited", expr: "m > 4"}
  - {alert: Absent, expr: "absent(m{a=\"1\"})", for: 3s}
`

// flapping writes series that come and go.
func flapping(t testing.TB, seed uint64) *source {
	random := rand.New(rand.NewPCG(seed, 16))
	src := newSourceAt(t, t0-second)
	src.tickAt(t0)
	there := map[int]bool{}
	for now := t0; now < t0+240*second; now += 1 + random.Int64N(4*second) {
		var points []point
		for a := range 5 {
			if random.IntN(8) == 0 {
				there[a] = !there[a]
				if !there[a] {
					points = append(points, point{series: fmt.Sprintf(`m{a="%d"}`, a), t: now, v: staleNaN})
					continue
				}
			}
			if there[a] {
				at := now
				if random.IntN(6) == 0 {
					at -= random.Int64N(20 * second)
				}
				points = append(points, point{series: fmt.Sprintf(`m{a="%d"}`, a), t: at, v: float64(random.IntN(7))})
			}
		}
		src.writeAt(now+random.Int64N(200), points...)
	}
	src.tickAt(t0 + 300*second)
	return src
}

// Rules that fail now and then, whose series come and go, come to the same for who moves at
// each response.
func TestRulesThatFlapMoved(t *testing.T) {
	for seed := range uint64(6) {
		src := flapping(t, seed)
		servers := []*instance{startFed(t, testConfig(t), src), startFed(t, testConfig(t), src)}
		req := &rulesRequest{Rules: flappingRules, Delay: millis(3 * second), Start: sinceRules(t0)}
		undisturbed := (&rulings{t: t}).all(servers[0].evaluate(t, req))
		require.NotEmpty(t, undisturbed.lines)
		moved := &rulings{t: t}
		for i := 0; ; i++ {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			more := moved.step(protocols[0].openRules(t, ctx, servers[i%2].RPCAddr().String(), req))
			cancel()
			if !more {
				break
			}
			req.Start = afterRules(moved.cursor)
		}
		require.Equal(t, undisturbed.lines, moved.lines, "seed %d", seed)
	}
}
