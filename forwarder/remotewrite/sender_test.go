package remotewrite

import (
	"fmt"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// senderLabels name the senders in the tests.
var senderLabels = NewSenderLabels("cluster", "__replica__", "replica")

// bodiesOf returns a request with a sample of each series in both schemas.
func bodiesOf(t *testing.T, series ...[]string) map[Schema][]byte {
	t.Helper()
	var one prompb.WriteRequest
	var two writev2.Request
	symbols := writev2.NewSymbolTable()
	for i, s := range series {
		at := int64(i + 1)
		one.Timeseries = append(one.Timeseries, prompb.TimeSeries{Labels: pairs(s...), Samples: []prompb.Sample{{Timestamp: at, Value: 1}}})
		var x writev2.TimeSeries
		for _, text := range s {
			x.LabelsRefs = append(x.LabelsRefs, symbols.Symbolize(text))
		}
		x.Samples = []writev2.Sample{{Timestamp: at, Value: 1}}
		two.Timeseries = append(two.Timeseries, x)
	}
	two.Symbols = symbols.Symbols()
	b1, err := one.Marshal()
	require.NoError(t, err)
	b2, err := two.Marshal()
	require.NoError(t, err)
	return map[Schema][]byte{V1: b1, V2: b2}
}

// textOf returns the labels of a series, or why it is refused.
func textOf(r *Request, s *Series) string {
	ls, err := labelsOf(r, s)
	if err != nil {
		return err.Error()
	}
	var text []string
	for _, l := range ls {
		text = append(text, l.Name+"="+l.Value)
	}
	return strings.Join(text, " ")
}

func TestSenders(t *testing.T) {
	for _, test := range []struct {
		name   string
		labels []string
		sender string // cluster and replica
		want   string // the labels that are left
	}{
		{"both", []string{"__name__", "up", "__replica__", "a", "cluster", "c", "job", "j"}, "c a", "__name__=up cluster=c job=j"},
		{"the replica comes first", []string{"__replica__", "a", "__name__", "up", "cluster", "c"}, "c a", "__name__=up cluster=c"},
		{"it comes last", []string{"__name__", "up", "cluster", "c", "replica", "a"}, "c a", "__name__=up cluster=c"},
		{"unsorted", []string{"job", "j", "cluster", "c", "__replica__", "a", "__name__", "up"}, "c a", "__name__=up cluster=c job=j"},
		{"the first of two names counts", []string{"__name__", "up", "cluster", "c", "replica", "b", "__replica__", "a"}, "c a", "__name__=up cluster=c replica=b"},
		{"and comes first", []string{"__name__", "up", "__replica__", "a", "cluster", "c", "replica", "b"}, "c a", "__name__=up cluster=c replica=b"},
		{"no cluster", []string{"__name__", "up", "__replica__", "a"}, "", "__name__=up __replica__=a"},
		{"no replica", []string{"__name__", "up", "cluster", "c"}, "", "__name__=up cluster=c"},
		{"an empty cluster", []string{"__name__", "up", "__replica__", "a", "cluster", ""}, "", "__name__=up __replica__=a"},
		{"an empty replica", []string{"__name__", "up", "__replica__", "", "cluster", "c"}, "", "__name__=up cluster=c"},
		{"two replicas", []string{"__name__", "up", "__replica__", "a", "__replica__", "b", "cluster", "c"}, "", `duplicate label name "__replica__"`},
		{"one of them empty", []string{"__name__", "up", "__replica__", "", "__replica__", "b", "cluster", "c"}, "", `duplicate label name "__replica__"`},
		{"two clusters", []string{"__name__", "up", "__replica__", "a", "cluster", "b", "cluster", "c"}, "", `duplicate label name "cluster"`},
		{"neither", []string{"__name__", "up"}, "", "__name__=up"},
	} {
		before, after := []string{"__name__", "x", "__replica__", "r", "cluster", "q"}, []string{"__name__", "y", "cluster", "q", "replica", "r"}
		for schema, body := range bodiesOf(t, before, test.labels, after) {
			t.Run(fmt.Sprintf("%s in %d", test.name, schema), func(t *testing.T) {
				r := NewRequest(DefaultLimits())
				r.NameSenders(senderLabels)
				require.NoError(t, decode(r, schema, body))
				require.Len(t, r.Series, 3)
				require.Equal(t, test.want, textOf(r, &r.Series[1]))
				require.Equal(t, "__name__=x cluster=q", textOf(r, &r.Series[0]))
				require.Equal(t, "__name__=y cluster=q", textOf(r, &r.Series[2]))
				require.Len(t, r.Senders, 3)
				s := r.Senders[1]
				require.NoError(t, s.Err)
				require.Equal(t, test.sender, strings.TrimSpace(string(s.Cluster)+" "+string(s.Replica)))
				require.Equal(t, test.sender == "", s.None())
				require.Equal(t, "q r", string(r.Senders[2].Cluster)+" "+string(r.Senders[2].Replica), "what a replica was moved over")
				require.Equal(t, []uint32{1, 2, 3}, []uint32{r.Senders[0].End, s.End, r.Senders[2].End})

				// Where nobody asks, everything stays.
				r.NameSenders(nil)
				require.NoError(t, decode(r, schema, body))
				require.Empty(t, r.Senders)
				require.Contains(t, textOf(r, &r.Series[0]), "__replica__=r")
			})
		}
	}
}

// TestSeriesOfAPairAreTheSame checks that the series of two senders have the same key, of
// either schema the same as without the label, and that a request has one sender as a rule.
func TestSeriesOfAPairAreTheSame(t *testing.T) {
	of := func(replica string) [][]string {
		var series [][]string
		for i := range 5 {
			s := []string{"__name__", "up"}
			if replica != "" {
				s = append(s, "__replica__", replica)
			}
			series = append(series, append(s, "cluster", "c", "i", fmt.Sprint(i)))
		}
		return series
	}
	keys := map[Schema][]Key{}
	canonical := []string{}
	for _, replica := range []string{"", "a", "a-long-name-of-a-replica"} {
		for schema, body := range bodiesOf(t, of(replica)...) {
			r := NewRequest(DefaultLimits())
			r.NameSenders(senderLabels)
			require.NoError(t, decode(r, schema, body))
			require.Len(t, r.Senders, 1)
			var got []Key
			for i := range r.Series {
				got = append(got, r.Key(&r.Series[i]))
				canonical = append(canonical, textOf(r, &r.Series[i]))
			}
			if before, ok := keys[schema]; ok {
				require.Equal(t, before, got)
			}
			keys[schema] = got
			require.Equal(t, canonical[:5], canonical[len(canonical)-5:])
		}
	}
}

func TestSendersThatCannotBeElected(t *testing.T) {
	long := strings.Repeat("x", segment.MaxElectionText+1)
	for name, labels := range map[string][]string{
		"long cluster":    {"__name__", "up", "__replica__", "a", "cluster", long},
		"long replica":    {"__name__", "up", "__replica__", long, "cluster", "c"},
		"invalid cluster": {"__name__", "up", "__replica__", "a", "cluster", "\xff"},
		"invalid replica": {"__name__", "up", "__replica__", "\xff", "cluster", "c"},
	} {
		for schema, body := range bodiesOf(t, labels, labels[:5:5][:4]) {
			t.Run(fmt.Sprintf("%s in %d", name, schema), func(t *testing.T) {
				r := NewRequest(DefaultLimits())
				r.NameSenders(senderLabels)
				require.NoError(t, decode(r, schema, body))
				require.Error(t, r.Senders[0].Err)
				require.NoError(t, r.Senders[1].Err)
				r.Part([]Fate{{Err: r.Senders[0].Err}, {}})
				require.Equal(t, 1, r.Problems.Rejected)
				require.Len(t, r.Series, 1)
			})
		}
	}
}

func TestPart(t *testing.T) {
	series := func(name, replica string) []string {
		return []string{"__name__", name, "__replica__", replica, "cluster", "c"}
	}
	refusal := limit.Over("--limit.x", "too many")
	for schema, body := range bodiesOf(t, series("a", "1"), series("b", "1"), series("c", "2"), []string{"__name__", "d"}, series("e", "1"), series("f", "3")) {
		t.Run(fmt.Sprint(schema), func(t *testing.T) {
			r := NewRequest(DefaultLimits())
			r.NameSenders(senderLabels)
			require.NoError(t, decode(r, schema, body))
			fates := make([]Fate, len(r.Senders))
			for i := range r.Senders {
				switch string(r.Senders[i].Replica) {
				case "1":
					fates[i].Drop = true
				case "3":
					fates[i].Err = refusal
				}
			}
			r.Part(fates)
			r.checkColumns()
			require.Equal(t, Counts{Samples: 3}, r.Dropped)
			require.Equal(t, 1, r.Problems.Rejected)
			require.Contains(t, r.Problems.Errors()[0], "--limit.x")
			require.Len(t, r.Series, 2)
			require.Equal(t, "__name__=c cluster=c", textOf(r, &r.Series[0]))
			require.Equal(t, "__name__=d", textOf(r, &r.Series[1]))
			require.Equal(t, []int64{3, 4}, []int64{r.Samples[0].Timestamp, r.Samples[1].Timestamp})
			// The next request starts anew.
			require.NoError(t, decode(r, schema, body))
			require.Zero(t, r.Dropped)
			require.Len(t, r.Series, 6)
		})
	}
}

// TestSendersCostNoMemoryEach checks that a usual request allocates nothing for its sender
// once its buffers have grown.
func TestSendersCostNoMemoryEach(t *testing.T) {
	var series [][]string
	for i := range 100 {
		series = append(series, []string{"__name__", "up", "__replica__", "a", "cluster", "c", "i", fmt.Sprint(i)})
	}
	for schema, body := range bodiesOf(t, series...) {
		r := NewRequest(DefaultLimits())
		r.NameSenders(senderLabels)
		compressed := snappy.Encode(nil, body)
		require.NoError(t, r.Decode(schema, compressed))
		require.Zero(t, testing.AllocsPerRun(20, func() { _ = r.Decode(schema, compressed) }), "schema %d", schema)
	}
}

// compareSenders compares a request of which senders are named with the same one without,
// from whose labels the reference takes the replica. The labels are those that the examples
// have.
func compareSenders(t testing.TB, schema Schema, body []byte) {
	t.Helper()
	const cluster, replica = "job", "instance"
	plain, named := NewRequest(wide), NewRequest(wide)
	named.NameSenders(NewSenderLabels(cluster, replica))
	if err := decode(plain, schema, body); err != nil {
		t.Fatal(err)
	}
	if err := decode(named, schema, body); err != nil {
		t.Fatalf("senders named: %v", err)
	}
	if len(plain.Series) != len(named.Series) || !cmp.Equal(plain.Samples, named.Samples) {
		t.Fatalf("%d series, with senders %d", len(plain.Series), len(named.Series))
	}
	run := 0
	for i := range named.Series {
		for uint32(i) >= named.Senders[run].End {
			run++
		}
		sender := named.Senders[run]
		want, wantErr := labelsOf(plain, &plain.Series[i])
		got, gotErr := labelsOf(named, &named.Series[i])
		if wantErr != nil {
			continue // The replica may be what is wrong.
		}
		if gotErr != nil {
			t.Fatalf("series %v with senders named: %v", want, gotErr)
		}
		var rest segment.Labels
		var found Sender
		for _, l := range want {
			switch l.Name {
			case cluster:
				found.Cluster = []byte(l.Value)
			case replica:
				found.Replica = []byte(l.Value)
			}
		}
		for _, l := range want {
			if l.Name != replica || len(found.Cluster) == 0 {
				rest = append(rest, l)
			}
		}
		if len(found.Cluster) == 0 || len(found.Replica) == 0 {
			found = Sender{}
		}
		if !sender.is(found.Cluster, found.Replica) || !cmp.Equal(rest, got) {
			t.Fatalf("series %v of %s, %s became %v of %s, %s", want, found.Cluster, found.Replica, got, sender.Cluster, sender.Replica)
		}
	}
}
