package rule

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/strutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promql"
)

// responseSize is at which a response is full.
const responseSize = h2frames.Large

// envelope is a response with the prefix before it.
func envelope(r *queryv1.EvaluateRulesResponse) ([]byte, error) {
	wire, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, call.PrefixSize, call.PrefixSize+256), r)
	if err != nil {
		return nil, fmt.Errorf("encode what rules came to: %w", err)
	}
	return wire, nil
}

// responses are what a group came to at a step, the last with the cursor.
func (s *subscription) responses(g int, at int64, out *outcome) []*queryv1.EvaluateRulesResponse {
	group := s.file.groups[g]
	current := &queryv1.EvaluateRulesResponse{Group: group.name}
	all, size := []*queryv1.EvaluateRulesResponse{current}, 0
	room := func(m proto.Message) *queryv1.EvaluateRulesResponse {
		n := proto.Size(m)
		if size > 0 && size+n > responseSize {
			current, size = &queryv1.EvaluateRulesResponse{Group: group.name}, 0
			all = append(all, current)
		}
		size += n
		return current
	}
	for i := range out.series {
		m := s.series(at, &out.series[i])
		r := room(m)
		r.Timeseries = append(r.Timeseries, m)
	}
	for i := range out.alerts {
		m := s.alert(&out.alerts[i])
		r := room(m)
		r.Alerts = append(r.Alerts, m)
	}
	for _, a := range out.annotations {
		for _, m := range promql.AnnotationMessages(a.of, a.rule.expression.Text()) {
			r := room(m)
			r.Annotations = append(r.Annotations, m)
		}
	}
	for _, f := range out.failures {
		m := &queryv1.RuleFailure{Rule: f.rule.name, Error: s.worded(f.err)}
		r := room(m)
		r.Failures = append(r.Failures, m)
	}
	s.at(current)
	return all
}

// worded is an error in words, which tell nothing of others to who may not see them.
func (s *subscription) worded(err error) string {
	var over *limit.Error
	if s.restricted && errors.As(err, &over) {
		return over.Plain().Error()
	}
	return err.Error()
}

func (s *subscription) series(at int64, of *sample) *metricsv1.TimeSeries {
	m := &metricsv1.TimeSeries{Labels: s.external(of.labels)}
	if of.histogram != nil {
		m.Histograms = []*metricsv1.Histogram{promql.HistogramMessage(at, of.histogram)}
	} else {
		m.Samples = []*metricsv1.Sample{{Value: of.value, Timestamp: at}}
	}
	return m
}

func (s *subscription) alert(c *ruleChange) *queryv1.Alert {
	m := &queryv1.Alert{
		Labels: s.external(c.labels), Annotations: labelsOf(c.annotations),
		State: c.state, Previous: c.previous, Value: c.value,
		ActiveAt:     timestamppb.New(time.UnixMilli(c.active)),
		GeneratorUrl: s.file.externalURL.String() + strutil.TableLinkForExpression(c.rule.expression.Text()),
	}
	if c.fired != never {
		m.FiredAt = timestamppb.New(time.UnixMilli(c.fired))
	}
	return m
}

// external adds the external labels that a series does not have.
func (s *subscription) external(ls labels.Labels) []*metricsv1.Label {
	if s.file.externalLabels.IsEmpty() {
		return labelsOf(ls)
	}
	b := labels.NewBuilder(ls)
	s.file.externalLabels.Range(func(l labels.Label) {
		if !ls.Has(l.Name) {
			b.Set(l.Name, l.Value)
		}
	})
	return labelsOf(b.Labels())
}

func labelsOf(ls labels.Labels) []*metricsv1.Label {
	all := make([]*metricsv1.Label, 0, ls.Len())
	ls.Range(func(l labels.Label) { all = append(all, &metricsv1.Label{Name: l.Name, Value: l.Value}) })
	return all
}
