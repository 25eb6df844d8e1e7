package rule

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// Each step's letter is whether the expression holds (x) or not (.), and the state that
// the alert changes to: pending, firing, inactive, or - for none.
func TestAlertStates(t *testing.T) {
	const second = 1000
	for name, tt := range map[string]struct {
		hold, keep   int64
		holds, moves string
	}{
		"at once":                      {0, 0, "xx..x", "f-i-f"},
		"after a while":                {2 * second, 0, "xxxx.", "p-f-i"},
		"not for long enough":          {3 * second, 0, "xxx.x", "p--ip"},
		"for no whole number of steps": {1500, 0, "xxx.", "p-fi"},
		"kept":                         {0, 2 * second, "x...", "f--i"},
		"kept until it holds again":    {0, 2 * second, "x.xx..x...", "f--------i"},
		"kept for less than a step":    {0, 500, "x..", "f-i"},
		"pending is not kept":          {2 * second, 5 * second, "xx.", "p-i"},
		"kept and fires again":         {second, second, "xx..xx..", "pf-ipf-i"},
	} {
		r := &rule{alert: true, hold: tt.hold, keep: tt.keep}
		of := alerts{}
		moves := strings.Builder{}
		for i, holds := range tt.holds {
			at := int64(i) * second
			seen := alerts{}
			if holds == 'x' {
				seen[7] = &alert{labels: labels.FromStrings("a", "b"), value: float64(i), active: at, seen: at, fired: never, kept: never}
			}
			changes := of.step(r, at, seen)
			require.LessOrEqual(t, len(changes), 1, name)
			if len(changes) == 0 {
				moves.WriteByte('-')
				continue
			}
			c := changes[0]
			require.NotEqual(t, c.state, c.previous, name)
			moves.WriteByte(map[queryv1.Alert_State]byte{queryv1.Alert_STATE_PENDING: 'p', queryv1.Alert_STATE_FIRING: 'f', queryv1.Alert_STATE_INACTIVE: 'i'}[c.state])
		}
		require.Equal(t, tt.moves, moves.String(), name)
	}
}

// Its value is that of the step at which it was seen last, and its start that of the first.
func TestAlertKeepsWhatItWas(t *testing.T) {
	r := &rule{alert: true, keep: 5000}
	of := alerts{}
	see := func(at int64, value float64) alerts {
		return alerts{7: {value: value, annotations: labels.FromStrings("v", "x"), active: at, seen: at, fired: never, kept: never}}
	}
	of.step(r, 1000, see(1000, 1))
	of.step(r, 2000, see(2000, 2))
	of.step(r, 3000, alerts{})
	require.Equal(t, alert{value: 2, annotations: labels.FromStrings("v", "x"), active: 1000, seen: 2000, fired: 1000, kept: 3000}, *of[7])
	require.Equal(t, queryv1.Alert_STATE_FIRING, of.inactive()[0].previous)
}
