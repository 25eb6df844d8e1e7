package rpc

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// check is what the handler of a request's call does first.
func check(t testing.TB, request proto.Message) error {
	switch q := request.(type) {
	case *metricsv1.GetMetricsRequest:
		return checkGetMetrics(q)
	case *metricsv1.ReadLogsRequest:
		return checkReadLogs(q)
	case *metricsv1.GetLabelNamesRequest:
		return checkGetLabelNames(q)
	case *metricsv1.GetLabelValuesRequest:
		return checkGetLabelValues(q)
	case *metricsv1.GetMetadataRequest:
		return checkGetMetadata(q)
	case *metricsv1.ListSegmentsRequest:
		return checkListSegments(q)
	case *metricsv1.GetStatusRequest:
		return checkGetStatus(q)
	case *queryv1.QueryRequest:
		return checkQuery(q)
	case *queryv1.EvaluateRulesRequest:
		return checkEvaluateRules(q)
	case *queryv1.ReadSeriesRequest:
		return checkReadSeries(q)
	case *queryv1.FollowTimeRequest:
		return checkFollowTime(q)
	}
	t.Fatalf("nobody checks a %T", request)
	return nil
}

// byProtovalidate is what protovalidate finds, but for what is told of no request: the
// items of a list that is too long, and more than so many violations.
func byProtovalidate(t testing.TB, request proto.Message) *protovalidate.ValidationError {
	err := protovalidate.Validate(request)
	if err == nil {
		return nil
	}
	var found *protovalidate.ValidationError
	require.ErrorAs(t, err, &found)
	long := map[protoreflect.Name]bool{}
	for _, v := range found.Violations {
		if v.Proto.GetRuleId() == "repeated.max_items" {
			long[v.FieldDescriptor.Name()] = true
		}
	}
	found.Violations = slices.DeleteFunc(found.Violations, func(v *protovalidate.Violation) bool {
		field := v.Proto.GetField().GetElements()
		return len(field) > 0 && long[protoreflect.Name(field[0].GetFieldName())] && v.Proto.GetRuleId() != "repeated.max_items"
	})
	found.Violations = found.Violations[:min(len(found.Violations), mostViolations)]
	return found
}

// requireAgreement compares what is found here with what protovalidate finds.
func requireAgreement(t testing.TB, request proto.Message) {
	t.Helper()
	err, want := check(t, request), byProtovalidate(t, request)
	if want == nil {
		require.NoError(t, err, "%v", request)
		return
	}
	var got *connect.Error
	require.ErrorAs(t, err, &got, "%v", request)
	require.Equal(t, connect.CodeInvalidArgument, got.Code())
	require.Equal(t, want.Error(), got.Message())
	detail, err := connect.NewErrorDetail(want.ToProto())
	require.NoError(t, err)
	require.Len(t, got.Details(), 1)
	require.Equal(t, detail.Type(), got.Details()[0].Type())
	told, err := got.Details()[0].Value()
	require.NoError(t, err)
	require.True(t, proto.Equal(want.ToProto(), told), "%v\n%v", want.ToProto(), told)
}

func many[T any](n int, item func(i int) T) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = item(i)
	}
	return list
}

func selectorOf(int) string { return "up" }

func positionOf(i int) *metricsv1.LogPosition {
	return &metricsv1.LogPosition{LogId: logIDOf(i), Sequence: 1}
}

func logIDOf(i int) string { return fmt.Sprintf("%032x", i) }

func cursorStart(s string) *metricsv1.GetMetricsRequest_Cursor {
	return &metricsv1.GetMetricsRequest_Cursor{Cursor: s}
}

// violating has, for each rule of api/, a request that breaks that rule alone.
var violating = map[string]proto.Message{
	"GetMetricsRequest reference_part.stride":       &metricsv1.GetMetricsRequest{ReferenceStride: 2, ReferencePart: 2},
	"GetMetricsRequest.reference_stride uint32.lte": &metricsv1.GetMetricsRequest{ReferenceStride: maxStride + 1},
	"GetMetricsRequest min_interval.follow":         &metricsv1.GetMetricsRequest{MinInterval: durationpb.New(time.Second)},
	"GetMetricsRequest heartbeat_interval.follow":   &metricsv1.GetMetricsRequest{HeartbeatInterval: durationpb.New(time.Second)},
	"GetMetricsRequest.selectors repeated.max_items": &metricsv1.GetMetricsRequest{
		Selectors: many(maxSelectors+1, selectorOf),
	},
	"GetMetricsRequest.selectors repeated.items.string.min_len": &metricsv1.GetMetricsRequest{Selectors: []string{"up", ""}},
	"GetMetricsRequest.selectors repeated.items.string.max_bytes": &metricsv1.GetMetricsRequest{
		Selectors: []string{strings.Repeat("ü", maxSelectorBytes/2) + "x"},
	},
	"GetMetricsRequest.cursor string.min_len":   &metricsv1.GetMetricsRequest{Start: cursorStart("")},
	"GetMetricsRequest.cursor string.max_bytes": &metricsv1.GetMetricsRequest{Start: cursorStart(strings.Repeat("x", maxCursorBytes+1))},
	"GetMetricsRequest.min_interval duration.gte": &metricsv1.GetMetricsRequest{
		Follow: true, MinInterval: durationpb.New(-1),
	},
	"GetMetricsRequest.min_interval duration.lte": &metricsv1.GetMetricsRequest{
		Follow: true, MinInterval: durationpb.New(longestInterval + 1),
	},
	"GetMetricsRequest.heartbeat_interval duration.gte": &metricsv1.GetMetricsRequest{
		Follow: true, HeartbeatInterval: durationpb.New(leastHeartbeat - 1),
	},
	"GetMetricsRequest.heartbeat_interval duration.lte": &metricsv1.GetMetricsRequest{
		Follow: true, HeartbeatInterval: durationpb.New(longestInterval + 1),
	},

	"ReadLogsRequest heartbeat_interval.follow":    &metricsv1.ReadLogsRequest{HeartbeatInterval: durationpb.New(time.Second)},
	"ReadLogsRequest.positions repeated.max_items": &metricsv1.ReadLogsRequest{Positions: many(maxPositions+1, positionOf)},
	"ReadLogsRequest.positions cel[0]": &metricsv1.ReadLogsRequest{
		Positions: []*metricsv1.LogPosition{positionOf(0), positionOf(1), positionOf(0)},
	},
	"ReadLogsRequest.log_ids repeated.max_items":            &metricsv1.ReadLogsRequest{LogIds: many(maxPositions+1, logIDOf)},
	"ReadLogsRequest.log_ids repeated.items.string.pattern": &metricsv1.ReadLogsRequest{LogIds: []string{logIDOf(0), "x"}},
	"ReadLogsRequest.heartbeat_interval duration.gte": &metricsv1.ReadLogsRequest{
		Follow: true, HeartbeatInterval: durationpb.New(leastHeartbeat - 1),
	},
	"ReadLogsRequest.heartbeat_interval duration.lte": &metricsv1.ReadLogsRequest{
		Follow: true, HeartbeatInterval: durationpb.New(longestInterval + 1),
	},
	"LogPosition.log_id string.pattern": &metricsv1.ReadLogsRequest{
		Positions: []*metricsv1.LogPosition{positionOf(0), {LogId: positionOf(1).GetLogId() + "\n", Sequence: 1}},
	},
	"LogPosition.sequence uint64.gt": &metricsv1.ReadLogsRequest{Positions: []*metricsv1.LogPosition{{LogId: positionOf(1).GetLogId()}}},

	"GetLabelNamesRequest.selectors repeated.max_items":            &metricsv1.GetLabelNamesRequest{Selectors: many(maxSelectors+1, selectorOf)},
	"GetLabelNamesRequest.selectors repeated.items.string.min_len": &metricsv1.GetLabelNamesRequest{Selectors: []string{""}},
	"GetLabelNamesRequest.selectors repeated.items.string.max_bytes": &metricsv1.GetLabelNamesRequest{
		Selectors: []string{strings.Repeat("x", maxSelectorBytes+1)},
	},
	"GetLabelNamesRequest.limit uint32.lte": &metricsv1.GetLabelNamesRequest{Limit: maxLookupLimit + 1},

	"GetLabelValuesRequest.name string.min_len": &metricsv1.GetLabelValuesRequest{},
	"GetLabelValuesRequest.selectors repeated.max_items": &metricsv1.GetLabelValuesRequest{
		Name: "job", Selectors: many(maxSelectors+1, selectorOf),
	},
	"GetLabelValuesRequest.selectors repeated.items.string.min_len": &metricsv1.GetLabelValuesRequest{Name: "job", Selectors: []string{""}},
	"GetLabelValuesRequest.selectors repeated.items.string.max_bytes": &metricsv1.GetLabelValuesRequest{
		Name: "job", Selectors: []string{strings.Repeat("x", maxSelectorBytes+1)},
	},
	"GetLabelValuesRequest.limit uint32.lte": &metricsv1.GetLabelValuesRequest{Name: "job", Limit: maxLookupLimit + 1},

	"GetMetadataRequest.limit uint32.lte": &metricsv1.GetMetadataRequest{Limit: maxLookupLimit + 1},

	"QueryRequest heartbeat_interval.follow":   &queryv1.QueryRequest{Expression: "x", HeartbeatInterval: durationpb.New(time.Second)},
	"QueryRequest.expression string.min_len":   &queryv1.QueryRequest{},
	"QueryRequest.expression string.max_bytes": &queryv1.QueryRequest{Expression: strings.Repeat("x", maxSelectorBytes+1)},
	"QueryRequest.cursor string.min_len":       &queryv1.QueryRequest{Expression: "x", Start: &queryv1.QueryRequest_Cursor{}},
	"QueryRequest.cursor string.max_bytes":     &queryv1.QueryRequest{Expression: "x", Start: &queryv1.QueryRequest_Cursor{Cursor: strings.Repeat("x", maxQueryCursor+1)}},
	"QueryRequest.step duration.gte":           &queryv1.QueryRequest{Expression: "x", Step: durationpb.New(leastStep - 1)},
	"QueryRequest.step duration.lte":           &queryv1.QueryRequest{Expression: "x", Step: durationpb.New(longestStep + 1)},
	"QueryRequest.delay duration.gte":          &queryv1.QueryRequest{Expression: "x", Delay: durationpb.New(-1)},
	"QueryRequest.delay duration.lte":          &queryv1.QueryRequest{Expression: "x", Delay: durationpb.New(longestInterval + 1)},
	"QueryRequest.lookback duration.gt":        &queryv1.QueryRequest{Expression: "x", Lookback: &durationpb.Duration{}},
	"QueryRequest.lookback duration.lte":       &queryv1.QueryRequest{Expression: "x", Lookback: durationpb.New(longestStep + 1)},
	"QueryRequest.heartbeat_interval duration.gte": &queryv1.QueryRequest{
		Expression: "x", Follow: true, HeartbeatInterval: durationpb.New(leastHeartbeat - 1),
	},
	"QueryRequest.heartbeat_interval duration.lte": &queryv1.QueryRequest{
		Expression: "x", Follow: true, HeartbeatInterval: durationpb.New(longestInterval + 1),
	},

	"EvaluateRulesRequest heartbeat_interval.follow": &queryv1.EvaluateRulesRequest{Rules: "x", HeartbeatInterval: durationpb.New(time.Second)},
	"EvaluateRulesRequest.rules string.min_len":      &queryv1.EvaluateRulesRequest{},
	"EvaluateRulesRequest.rules string.max_bytes":    &queryv1.EvaluateRulesRequest{Rules: strings.Repeat("x", maxRulesBytes+1)},
	"EvaluateRulesRequest.cursor string.min_len":     &queryv1.EvaluateRulesRequest{Rules: "x", Start: &queryv1.EvaluateRulesRequest_Cursor{}},
	"EvaluateRulesRequest.cursor string.max_bytes": &queryv1.EvaluateRulesRequest{
		Rules: "x", Start: &queryv1.EvaluateRulesRequest_Cursor{Cursor: strings.Repeat("x", maxRulesCursor+1)},
	},
	"EvaluateRulesRequest.interval duration.gte":         &queryv1.EvaluateRulesRequest{Rules: "x", Interval: durationpb.New(leastRuleStep - 1)},
	"EvaluateRulesRequest.interval duration.lte":         &queryv1.EvaluateRulesRequest{Rules: "x", Interval: durationpb.New(longestStep + 1)},
	"EvaluateRulesRequest.delay duration.gte":            &queryv1.EvaluateRulesRequest{Rules: "x", Delay: durationpb.New(-1)},
	"EvaluateRulesRequest.delay duration.lte":            &queryv1.EvaluateRulesRequest{Rules: "x", Delay: durationpb.New(longestInterval + 1)},
	"EvaluateRulesRequest.external_labels map.max_pairs": &queryv1.EvaluateRulesRequest{Rules: "x", ExternalLabels: external(maxExternal + 1)},
	"EvaluateRulesRequest.external_url string.max_bytes": &queryv1.EvaluateRulesRequest{Rules: "x", ExternalUrl: strings.Repeat("x", maxURLBytes+1)},
	"EvaluateRulesRequest.heartbeat_interval duration.gte": &queryv1.EvaluateRulesRequest{
		Rules: "x", Follow: true, HeartbeatInterval: durationpb.New(leastHeartbeat - 1),
	},
	"EvaluateRulesRequest.heartbeat_interval duration.lte": &queryv1.EvaluateRulesRequest{
		Rules: "x", Follow: true, HeartbeatInterval: durationpb.New(longestInterval + 1),
	},

	"ReadSeriesRequest max_time.order":                            &queryv1.ReadSeriesRequest{MinTime: 1},
	"ReadSeriesRequest.selectors repeated.max_items":              &queryv1.ReadSeriesRequest{Selectors: many(maxSelectors+1, selectorOf)},
	"ReadSeriesRequest.selectors repeated.items.string.min_len":   &queryv1.ReadSeriesRequest{Selectors: []string{"up", ""}},
	"ReadSeriesRequest.selectors repeated.items.string.max_bytes": &queryv1.ReadSeriesRequest{Selectors: []string{strings.Repeat("x", maxReadSelectorBytes+1)}},
	"ReadSeriesRequest.content enum.defined_only":                 &queryv1.ReadSeriesRequest{Content: queryv1.ReadSeriesRequest_Content(len(queryv1.ReadSeriesRequest_Content_name))},
	"ReadSeriesRequest.when_away enum.defined_only":               &queryv1.ReadSeriesRequest{WhenAway: undefined},
	"FollowTimeRequest.when_away enum.defined_only":               &queryv1.FollowTimeRequest{WhenAway: undefined},

	"GetMetricsRequest.when_away enum.defined_only":     &metricsv1.GetMetricsRequest{WhenAway: undefined},
	"ReadLogsRequest.when_away enum.defined_only":       &metricsv1.ReadLogsRequest{WhenAway: undefined},
	"GetLabelNamesRequest.when_away enum.defined_only":  &metricsv1.GetLabelNamesRequest{WhenAway: undefined},
	"GetLabelValuesRequest.when_away enum.defined_only": &metricsv1.GetLabelValuesRequest{Name: "job", WhenAway: undefined},
	"GetMetadataRequest.when_away enum.defined_only":    &metricsv1.GetMetadataRequest{WhenAway: undefined},
	"ListSegmentsRequest.when_away enum.defined_only":   &metricsv1.ListSegmentsRequest{WhenAway: undefined},
	"GetStatusRequest.when_away enum.defined_only":      &metricsv1.GetStatusRequest{WhenAway: undefined},
	"QueryRequest.when_away enum.defined_only":          &queryv1.QueryRequest{Expression: "x", WhenAway: undefined},
	"EvaluateRulesRequest.when_away enum.defined_only":  &queryv1.EvaluateRulesRequest{Rules: "x", WhenAway: undefined},
}

// undefined is no value of WhenAway.
var undefined = metricsv1.WhenAway(len(metricsv1.WhenAway_name))

func external(n int) map[string]string {
	labels := map[string]string{}
	for i := range n {
		labels[fmt.Sprint("label_", i)] = "x"
	}
	return labels
}

// allowed are requests at the edges of what is allowed.
var allowed = []proto.Message{
	&metricsv1.GetMetricsRequest{},
	&metricsv1.GetMetricsRequest{
		Selectors: many(maxSelectors, func(int) string { return strings.Repeat("x", maxSelectorBytes) }), Follow: true,
		Start: cursorStart(strings.Repeat("x", maxCursorBytes)), MinInterval: &durationpb.Duration{}, HeartbeatInterval: durationpb.New(leastHeartbeat),
		ReferenceStride: maxStride, ReferencePart: maxStride - 1,
	},
	&metricsv1.GetMetricsRequest{
		Selectors: []string{"x"}, Follow: true, Start: cursorStart("x"),
		MinInterval: durationpb.New(longestInterval), HeartbeatInterval: durationpb.New(longestInterval),
	},
	&metricsv1.GetMetricsRequest{WhenAway: metricsv1.WhenAway_WHEN_AWAY_WAIT},
	&metricsv1.ReadLogsRequest{},
	&metricsv1.ReadLogsRequest{Positions: many(maxPositions, positionOf), LogIds: many(maxPositions, logIDOf), Follow: true, HeartbeatInterval: durationpb.New(leastHeartbeat)},
	&metricsv1.GetLabelNamesRequest{Limit: maxLookupLimit},
	&metricsv1.GetLabelValuesRequest{Name: "x", Limit: maxLookupLimit},
	&metricsv1.GetMetadataRequest{Limit: maxLookupLimit},
	&metricsv1.ListSegmentsRequest{WhenAway: metricsv1.WhenAway_WHEN_AWAY_WAIT},
	&metricsv1.GetStatusRequest{WhenAway: metricsv1.WhenAway_WHEN_AWAY_REFUSE},
	&queryv1.QueryRequest{Expression: "x", Step: durationpb.New(leastStep), Delay: &durationpb.Duration{}, Lookback: durationpb.New(1)},
	&queryv1.QueryRequest{
		Expression: strings.Repeat("x", maxSelectorBytes), Start: &queryv1.QueryRequest_Cursor{Cursor: strings.Repeat("x", maxQueryCursor)}, Follow: true,
		Step: durationpb.New(longestStep), Delay: durationpb.New(longestInterval), Lookback: durationpb.New(longestStep), HeartbeatInterval: durationpb.New(leastHeartbeat),
	},
	&queryv1.EvaluateRulesRequest{Rules: "x", Interval: durationpb.New(leastRuleStep), Delay: &durationpb.Duration{}},
	&queryv1.FollowTimeRequest{},
	&queryv1.ReadSeriesRequest{},
	&queryv1.ReadSeriesRequest{
		Selectors: many(maxSelectors, func(int) string { return strings.Repeat("x", maxReadSelectorBytes) }), MinTime: -1, Content: queryv1.ReadSeriesRequest_CONTENT_EXEMPLARS,
	},
	&queryv1.EvaluateRulesRequest{
		Rules: strings.Repeat("x", maxRulesBytes), Start: &queryv1.EvaluateRulesRequest_Cursor{Cursor: strings.Repeat("x", maxRulesCursor)}, Follow: true,
		Interval: durationpb.New(longestStep), Delay: durationpb.New(longestInterval), ExternalLabels: external(maxExternal),
		ExternalUrl: strings.Repeat("x", maxURLBytes), HeartbeatInterval: durationpb.New(longestInterval),
	},
}

// Each rule that api/ states is checked, as protovalidate checks it.
func TestRules(t *testing.T) {
	stated := map[string]bool{}
	for _, service := range services {
		for i := range service.Methods().Len() {
			statedBy(stated, service.Methods().Get(i).Input())
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(stated)), slices.Collect(maps.Keys(violating)))
	for rule, request := range violating {
		t.Run(rule, func(t *testing.T) {
			require.Error(t, check(t, request))
			require.Len(t, byProtovalidate(t, request).Violations, 1)
			requireAgreement(t, request)
		})
	}
	for _, request := range allowed {
		require.NoError(t, check(t, request))
		requireAgreement(t, request)
	}
}

// statedBy adds the rules of a message, and of those within it.
func statedBy(rules map[string]bool, m protoreflect.MessageDescriptor) {
	for _, rule := range proto.GetExtension(m.Options(), validate.E_Message).(*validate.MessageRules).GetCel() {
		rules[fmt.Sprintf("%s %s", m.Name(), rule.GetId())] = true
	}
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		statedFor(rules, fmt.Sprintf("%s.%s ", m.Name(), field.Name()), proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules))
		if of := field.Message(); of != nil && of.ParentFile().Package() == m.ParentFile().Package() {
			statedBy(rules, of)
		}
	}
}

// statedFor adds what is set in the rules of a field, by its path.
func statedFor(rules map[string]bool, prefix string, of proto.Message) {
	of.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		path := prefix + string(field.Name())
		switch {
		case field.IsList():
			for i := range value.List().Len() {
				rules[fmt.Sprintf("%s[%d]", path, i)] = true
			}
		case field.Message() != nil && field.Message().FullName() != "google.protobuf.Duration":
			statedFor(rules, path+".", value.Message().Interface())
		default:
			rules[path] = true
		}
		return true
	})
}

// A request that breaks many rules gets an answer of the same order as one that
// breaks one.
func TestManyViolations(t *testing.T) {
	for _, request := range []proto.Message{
		&metricsv1.GetMetricsRequest{
			Selectors: make([]string, maxSelectors), Start: cursorStart(""), MinInterval: durationpb.New(-1), HeartbeatInterval: durationpb.New(-1),
		},
		&metricsv1.GetMetricsRequest{Selectors: make([]string, 100*maxSelectors), MinInterval: durationpb.New(-1)},
		&metricsv1.ReadLogsRequest{Positions: many(maxPositions, func(int) *metricsv1.LogPosition { return &metricsv1.LogPosition{} })},
		&metricsv1.ReadLogsRequest{Positions: many(100*maxPositions, func(int) *metricsv1.LogPosition { return &metricsv1.LogPosition{} })},
		&metricsv1.GetLabelValuesRequest{Selectors: []string{""}, Limit: 1 << 31},
		&queryv1.QueryRequest{
			Start: &queryv1.QueryRequest_Cursor{}, Step: durationpb.New(-1), Delay: durationpb.New(-1), Lookback: durationpb.New(-1), HeartbeatInterval: durationpb.New(-1),
		},
		&queryv1.EvaluateRulesRequest{
			Start: &queryv1.EvaluateRulesRequest_Cursor{}, Interval: durationpb.New(-1), Delay: durationpb.New(-1), HeartbeatInterval: durationpb.New(-1),
			ExternalLabels: external(maxExternal + 1), ExternalUrl: strings.Repeat("x", maxURLBytes+1),
		},
	} {
		requireAgreement(t, request)
	}
}

// FuzzRules compares what is checked here with protovalidate.
func FuzzRules(f *testing.F) {
	kinds := []proto.Message{
		&metricsv1.GetMetricsRequest{}, &metricsv1.ReadLogsRequest{},
		&metricsv1.GetLabelNamesRequest{}, &metricsv1.GetLabelValuesRequest{}, &metricsv1.GetMetadataRequest{},
		&metricsv1.ListSegmentsRequest{}, &metricsv1.GetStatusRequest{},
		&queryv1.QueryRequest{}, &queryv1.EvaluateRulesRequest{}, &queryv1.ReadSeriesRequest{}, &queryv1.FollowTimeRequest{},
	}
	kindOf := func(request proto.Message) uint8 {
		return uint8(slices.IndexFunc(kinds, func(kind proto.Message) bool {
			return kind.ProtoReflect().Descriptor() == request.ProtoReflect().Descriptor()
		}))
	}
	for _, request := range slices.AppendSeq(slices.Clone(allowed), maps.Values(violating)) {
		wire, err := proto.Marshal(request)
		require.NoError(f, err)
		f.Add(kindOf(request), wire)
	}
	f.Fuzz(func(t *testing.T, kind uint8, wire []byte) {
		request := kinds[int(kind)%len(kinds)].ProtoReflect().New().Interface()
		if proto.Unmarshal(wire, request) != nil {
			return
		}
		requireAgreement(t, request)
	})
}
