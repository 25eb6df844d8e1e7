package remotewrite

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/tenant"
)

// owner is whose the series of the tests are.
var owner = segment.Label{Name: "job", Value: "mine"}

// setTenant makes the series those of owner.
func setTenant(t testing.TB, r *Request) {
	t.Helper()
	if err := r.SetTenant(&owner); err != nil {
		t.Fatal(err)
	}
}

// ownV1 and ownV2 give the series of a request the tenant by hand, in place of what is
// valid under its name.

func ownV1(req *prompb.WriteRequest) {
	for i := range req.Timeseries {
		ls := slices.DeleteFunc(req.Timeseries[i].Labels, func(l prompb.Label) bool {
			return l.Name == owner.Name && utf8.ValidString(l.Value)
		})
		req.Timeseries[i].Labels = append(ls, prompb.Label{Name: owner.Name, Value: owner.Value})
	}
}

func ownV2(req *writev2.Request) {
	if len(req.Symbols) == 0 {
		req.Symbols = []string{""}
	}
	name, symbols := uint32(len(req.Symbols)), uint32(len(req.Symbols))
	req.Symbols = append(req.Symbols, owner.Name, owner.Value)
	for i := range req.Timeseries {
		var kept []uint32
		refs := req.Timeseries[i].LabelsRefs
		if len(refs)%2 != 0 || len(refs) > 0 && slices.Max(refs) >= symbols {
			req.Timeseries[i].LabelsRefs = []uint32{symbols + 2, 0} // It is refused as a whole, with more symbols, too.
			continue
		}
		for j := 0; j < len(refs); j += 2 {
			if req.Symbols[refs[j]] != owner.Name || !utf8.ValidString(req.Symbols[refs[j+1]]) {
				kept = append(kept, refs[j], refs[j+1])
			}
		}
		req.Timeseries[i].LabelsRefs = append(kept, name, name+1)
	}
}

func TestTenantTakesThePlaceOfALabel(t *testing.T) {
	for _, test := range []struct {
		name   string
		labels []string
		want   string
	}{
		{"none", []string{"__name__", "up", "a", "1"}, `__name__=up a=1 job=mine`},
		{"it comes last", []string{"__name__", "up", "z", "1"}, `__name__=up job=mine z=1`},
		{"another", []string{"__name__", "up", "job", "theirs", "z", "1"}, `__name__=up job=mine z=1`},
		{"the same", []string{"__name__", "up", "job", "mine"}, `__name__=up job=mine`},
		{"empty", []string{"__name__", "up", "job", ""}, `__name__=up job=mine`},
		{"twice", []string{"__name__", "up", "job", "a", "job", "b"}, `__name__=up job=mine`},
		{"unsorted", []string{"z", "1", "job", "a", "__name__", "up", "b", ""}, `__name__=up job=mine z=1`},
		{"nameless", []string{"a", "1"}, `no metric name (label __name__)`},
		{"nothing", nil, `no metric name (label __name__)`},
		{"another label twice", []string{"__name__", "up", "a", "1", "a", "2"}, `duplicate label name "a"`},
	} {
		req := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{
			{Labels: pairs("__name__", "before", "a", "1", "job", "other"), Samples: []prompb.Sample{{Value: 1}}},
			{Labels: pairs(test.labels...), Samples: []prompb.Sample{{Value: 1}}},
		}}
		v1, _ := req.Marshal()
		symbols := writev2.NewSymbolTable()
		var second writev2.Request
		for _, s := range req.Timeseries {
			var refs []uint32
			for _, l := range s.Labels {
				refs = append(refs, symbols.Symbolize(l.Name), symbols.Symbolize(l.Value))
			}
			second.Timeseries = append(second.Timeseries, writev2.TimeSeries{LabelsRefs: refs, Samples: []writev2.Sample{{Value: 1}}})
		}
		second.Symbols = symbols.Symbols()
		v2, _ := second.Marshal()
		for schema, body := range map[Schema][]byte{V1: v1, V2: v2} {
			r := NewRequest(DefaultLimits())
			setTenant(t, r)
			if err := decode(r, schema, body); err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range r.Series { // The second learns from the first.
				got = append(got, spelt(r, &r.Series[i]))
			}
			if want := []string{"__name__=before a=1 job=mine", test.want}; !slices.Equal(want, got) {
				t.Errorf("%s, schema %d: %q", test.name, schema, got)
			}
			if value := r.LabelValue(&r.Series[1], owner.Name); string(value) != owner.Value {
				t.Errorf("%s, schema %d: a tenant %q", test.name, schema, value)
			}
			r.Refuse(1, &r.Series[1], errors.New("x"))
			if text := r.Problems.Errors()[0]; strings.Count(text, "job=") != 1 || !strings.HasPrefix(text, `series {job="mine"`) {
				t.Errorf("%s, schema %d: %s", test.name, schema, text)
			}
		}
	}
}

// spelt are the labels of a series, or why there are none.
func spelt(r *Request, s *Series) string {
	ls, err := labelsOf(r, s)
	if err != nil {
		return err.Error()
	}
	var parts []string
	for _, l := range ls {
		parts = append(parts, l.Name+"="+l.Value)
	}
	return strings.Join(parts, " ")
}

// TestTenantsHaveTheirOwnKeys checks that neither half of a key says the same of two
// tenants, and that the next request has no tenant unless it is given one.
func TestTenantsHaveTheirOwnKeys(t *testing.T) {
	one, _ := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: pairs("__name__", "up"), Samples: []prompb.Sample{{Value: 1}}}}}).Marshal()
	two, _ := (&writev2.Request{Symbols: []string{"", "__name__", "up"}, Timeseries: []writev2.TimeSeries{{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Value: 1}}}}}).Marshal()
	for schema, body := range map[Schema][]byte{V1: one, V2: two} {
		r := NewRequest(DefaultLimits())
		keys, firsts, seconds := map[string]Key{}, map[uint64]bool{}, map[uint64]bool{}
		for _, own := range []*segment.Label{nil, {Name: "job", Value: "a"}, {Name: "job", Value: "b"}, {Name: "joba", Value: "a"}, {Name: "jo", Value: "ba"}} {
			for range 2 {
				if err := r.SetTenant(own); err != nil {
					t.Fatal(err)
				}
				if err := decode(r, schema, body); err != nil {
					t.Fatal(err)
				}
				name := ""
				if own != nil {
					name = own.Name + "=" + own.Value
				}
				key := r.Key(&r.Series[0])
				if before, known := keys[name]; known && before != key {
					t.Errorf("schema %d: the series of %q have another key now", schema, name)
				}
				keys[name] = key
				firsts[key.A], seconds[key.B] = true, true
				if r.Series[0].Hash != key.A {
					t.Errorf("schema %d: the hash is not half of the key", schema)
				}
			}
		}
		if len(firsts) != 5 || len(seconds) != 5 {
			t.Errorf("schema %d: %v", schema, keys)
		}
	}
}

// TestTenantCountsForTheLimits has series that are within the limits without the tenant.
func TestTenantCountsForTheLimits(t *testing.T) {
	body, _ := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: pairs("__name__", "up", "a", "1"), Samples: []prompb.Sample{{Value: 1}}}}}).Marshal()
	size := len("__name__"+"up"+"a"+"1") + len(owner.Name+owner.Value)
	for name, test := range map[string]struct {
		at, above func(*Limits)
	}{
		flagLabels:      {func(l *Limits) { l.Labels = 3 }, func(l *Limits) { l.Labels = 2 }},
		flagLabelsBytes: {func(l *Limits) { l.LabelsBytes = size }, func(l *Limits) { l.LabelsBytes = size - 1 }},
	} {
		for i, change := range []func(*Limits){test.at, test.above} {
			r := NewRequest(limitsWith(change))
			setTenant(t, r)
			if err := decode(r, V1, body); err != nil {
				t.Fatal(err)
			}
			_, err := r.Labels(&r.Series[0], r.Key(&r.Series[0]))
			over := (*limit.Error)(nil)
			if errors.As(err, &over) != (i == 1) || i == 1 && over.Name != limit.Name(name) {
				t.Errorf("%s, %d: %v", name, i, err)
			}
		}
	}
}

func TestTenantsThatAreRefused(t *testing.T) {
	r := NewRequest(limitsWith(func(l *Limits) { l.ValueBytes = 100 }))
	for _, own := range []segment.Label{
		{}, {Name: "job"}, {Value: "a"}, {Name: "__name__", Value: "a"}, {Name: "le", Value: "a"}, {Name: "job", Value: "a|b"},
		{Name: "job", Value: "\xff"}, {Name: "job", Value: strings.Repeat("a", tenant.MaxBytes+1)}, {Name: strings.Repeat("a", tenant.MaxLabelBytes+1), Value: "a"},
	} {
		if err := r.SetTenant(&own); err == nil {
			t.Errorf("%v is a tenant", own)
		}
	}
	over := (*limit.Error)(nil)
	if err := r.SetTenant(&segment.Label{Name: "job", Value: strings.Repeat("a", 101)}); !errors.As(err, &over) || over.Name != limit.Name(flagValueBytes) {
		t.Error(err)
	}
}
