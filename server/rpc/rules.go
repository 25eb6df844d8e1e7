package rpc

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/refusal"
)

// The rules of requests are annotations in api/, which a protovalidate library of any
// language can check. The one for Go brings an interpreter of expressions, for a dozen
// rules; so they are checked by hand here, with the errors of that library. TestRules
// and FuzzRules compare the two.

const (
	maxSelectors     = 64
	maxSelectorBytes = 16384
	// Who evaluates elsewhere writes selectors of its own.
	maxReadSelectorBytes = 65536
	maxCursorBytes       = 16384
	maxQueryCursor       = 4096
	maxStride            = 65536
	maxPositions         = 48
	maxLookupLimit       = answer.MostEntries
	leastHeartbeat       = 100 * time.Millisecond
	longestInterval      = time.Hour
	leastStep            = 100 * time.Millisecond
	leastRuleStep        = time.Second
	longestStep          = 24 * time.Hour
	maxRulesBytes        = 512 << 10
	maxRulesCursor       = 256 << 10
	maxExternal          = 64
	maxURLBytes          = 2048
	logIDPattern         = "^[0-9a-f]{32}$"
	logIDDigits          = 32
	// mostViolations are in an error, so that it stays small.
	mostViolations = 8
)

func checkGetMetrics(q *metricsv1.GetMetricsRequest) error {
	v := violations{request: q}
	v.needsFollow("min_interval", q.GetMinInterval(), q.GetFollow())
	v.needsFollow("heartbeat_interval", q.GetHeartbeatInterval(), q.GetFollow())
	if part := q.GetReferencePart(); part != 0 && part >= q.GetReferenceStride() {
		v.add("", "", "reference_part.stride", "reference_part must be below reference_stride")
	}
	v.selectors(q.GetSelectors())
	if start, ok := q.GetStart().(*metricsv1.GetMetricsRequest_Cursor); ok {
		v.notEmpty("cursor", "string", start.Cursor)
		v.maxBytes("cursor", "string", start.Cursor, maxCursorBytes)
	}
	v.interval("min_interval", q.GetMinInterval(), 0, longestInterval)
	v.interval("heartbeat_interval", q.GetHeartbeatInterval(), leastHeartbeat, longestInterval)
	v.whenAway(q.GetWhenAway())
	v.atMost("reference_stride", q.GetReferenceStride(), maxStride)
	return v.err()
}

func checkReadLogs(q *metricsv1.ReadLogsRequest) error {
	v := violations{request: q}
	v.needsFollow("heartbeat_interval", q.GetHeartbeatInterval(), q.GetFollow())
	v.positions(q.GetPositions())
	v.logIDs(q.GetLogIds())
	v.interval("heartbeat_interval", q.GetHeartbeatInterval(), leastHeartbeat, longestInterval)
	v.whenAway(q.GetWhenAway())
	return v.err()
}

func checkQuery(q *queryv1.QueryRequest) error {
	v := violations{request: q}
	v.needsFollow("heartbeat_interval", q.GetHeartbeatInterval(), q.GetFollow())
	v.notEmpty("expression", "string", q.GetExpression())
	v.maxBytes("expression", "string", q.GetExpression(), maxSelectorBytes)
	if start, ok := q.GetStart().(*queryv1.QueryRequest_Cursor); ok {
		v.notEmpty("cursor", "string", start.Cursor)
		v.maxBytes("cursor", "string", start.Cursor, maxQueryCursor)
	}
	v.interval("step", q.GetStep(), leastStep, longestStep)
	v.interval("delay", q.GetDelay(), 0, longestInterval)
	v.positive("lookback", q.GetLookback(), longestStep)
	v.interval("heartbeat_interval", q.GetHeartbeatInterval(), leastHeartbeat, longestInterval)
	v.whenAway(q.GetWhenAway())
	return v.err()
}

func checkEvaluateRules(q *queryv1.EvaluateRulesRequest) error {
	v := violations{request: q}
	v.needsFollow("heartbeat_interval", q.GetHeartbeatInterval(), q.GetFollow())
	v.notEmpty("rules", "string", q.GetRules())
	v.maxBytes("rules", "string", q.GetRules(), maxRulesBytes)
	if start, ok := q.GetStart().(*queryv1.EvaluateRulesRequest_Cursor); ok {
		v.notEmpty("cursor", "string", start.Cursor)
		v.maxBytes("cursor", "string", start.Cursor, maxRulesCursor)
	}
	v.interval("interval", q.GetInterval(), leastRuleStep, longestStep)
	v.interval("delay", q.GetDelay(), 0, longestInterval)
	if n := len(q.GetExternalLabels()); n > maxExternal {
		v.add("external_labels", "map.max_pairs", "map.max_pairs", fmt.Sprintf("map must be at most %d entries", maxExternal))
	}
	v.maxBytes("external_url", "string", q.GetExternalUrl(), maxURLBytes)
	v.interval("heartbeat_interval", q.GetHeartbeatInterval(), leastHeartbeat, longestInterval)
	v.whenAway(q.GetWhenAway())
	return v.err()
}

func checkReadSeries(q *queryv1.ReadSeriesRequest) error {
	v := violations{request: q}
	if q.GetMinTime() > q.GetMaxTime() {
		v.add("", "", "max_time.order", "max_time is before min_time")
	}
	v.selectorsOf(q.GetSelectors(), maxReadSelectorBytes)
	if _, ok := queryv1.ReadSeriesRequest_Content_name[int32(q.GetContent())]; !ok {
		v.undefined("content")
	}
	v.whenAway(q.GetWhenAway())
	return v.err()
}

func checkFollowTime(q *queryv1.FollowTimeRequest) error {
	v := violations{request: q}
	v.whenAway(q.GetWhenAway())
	return v.err()
}

func checkGetLabelNames(q *metricsv1.GetLabelNamesRequest) error {
	v := violations{request: q}
	v.selectors(q.GetSelectors())
	v.limit(q.GetLimit())
	v.whenAway(q.GetWhenAway())
	return v.err()
}

func checkGetLabelValues(q *metricsv1.GetLabelValuesRequest) error {
	v := violations{request: q}
	v.notEmpty("name", "string", q.GetName())
	v.selectors(q.GetSelectors())
	v.limit(q.GetLimit())
	v.whenAway(q.GetWhenAway())
	return v.err()
}

func checkGetMetadata(q *metricsv1.GetMetadataRequest) error {
	v := violations{request: q}
	v.limit(q.GetLimit())
	v.whenAway(q.GetWhenAway())
	return v.err()
}

func checkListSegments(q *metricsv1.ListSegmentsRequest) error {
	v := violations{request: q}
	v.whenAway(q.GetWhenAway())
	return v.err()
}

func checkGetStatus(q *metricsv1.GetStatusRequest) error {
	v := violations{request: q}
	v.whenAway(q.GetWhenAway())
	return v.err()
}

// violations are the rules that a request breaks.
type violations struct {
	request proto.Message
	list    []*validate.Violation
	lines   []string // what each says
}

func (v *violations) needsFollow(field string, interval *durationpb.Duration, follow bool) {
	if interval != nil && !follow {
		v.add("", "", field+".follow", field+" needs follow")
	}
}

// selectors checks each, unless there are too many.
func (v *violations) selectors(selectors []string) { v.selectorsOf(selectors, maxSelectorBytes) }

// selectorsOf is selectors of which each may have so many bytes.
func (v *violations) selectorsOf(selectors []string, most int) {
	if !v.maxItems("selectors", len(selectors), maxSelectors) {
		return
	}
	for i, s := range selectors {
		field := fmt.Sprintf("selectors[%d]", i)
		v.notEmpty(field, "repeated.items.string", s)
		v.maxBytes(field, "repeated.items.string", s, most)
	}
}

// positions checks each, unless there are too many.
func (v *violations) positions(positions []*metricsv1.LogPosition) {
	if !v.maxItems("positions", len(positions), maxPositions) {
		return
	}
	ids := map[string]bool{}
	for _, p := range positions {
		ids[p.GetLogId()] = true
	}
	if len(ids) < len(positions) {
		v.add("positions", "cel[0]", "positions.unique", "positions name a log twice")
	}
	for i, p := range positions {
		if !isLogID(p.GetLogId()) {
			v.add(fmt.Sprintf("positions[%d].log_id", i), "string.pattern", "string.pattern", notLogID)
		}
		if p.GetSequence() == 0 {
			v.add(fmt.Sprintf("positions[%d].sequence", i), "uint64.gt", "uint64.gt", "must be greater than 0")
		}
	}
}

func (v *violations) logIDs(ids []string) {
	if !v.maxItems("log_ids", len(ids), maxPositions) {
		return
	}
	for i, id := range ids {
		if !isLogID(id) {
			v.add(fmt.Sprintf("log_ids[%d]", i), "repeated.items.string.pattern", "string.pattern", notLogID)
		}
	}
}

const notLogID = "does not match regex pattern `" + logIDPattern + "`"

func isLogID(s string) bool {
	return len(s) == logIDDigits && strings.Trim(s, "0123456789abcdef") == ""
}

func (v *violations) maxItems(field string, n, most int) bool {
	if n > most {
		v.add(field, "repeated.max_items", "repeated.max_items", fmt.Sprintf("must contain no more than %d item(s)", most))
	}
	return n <= most
}

func (v *violations) notEmpty(field, kind, s string) {
	if s == "" {
		v.add(field, kind+".min_len", "string.min_len", "must be at least 1 characters")
	}
}

func (v *violations) maxBytes(field, kind, s string, most int) {
	if len(s) > most {
		v.add(field, kind+".max_bytes", "string.max_bytes", fmt.Sprintf("must be at most %d bytes", most))
	}
}

func (v *violations) limit(n uint32) { v.atMost("limit", n, maxLookupLimit) }

func (v *violations) atMost(field string, n, most uint32) {
	if n > most {
		v.add(field, "uint32.lte", "uint32.lte", fmt.Sprintf("must be less than or equal to %d", most))
	}
}

func (v *violations) whenAway(w metricsv1.WhenAway) {
	if _, ok := metricsv1.WhenAway_name[int32(w)]; !ok {
		v.undefined("when_away")
	}
}

func (v *violations) undefined(field string) {
	v.add(field, "enum.defined_only", "enum.defined_only", "value must be one of the defined enum values")
}

func (v *violations) interval(field string, d *durationpb.Duration, least, longest time.Duration) {
	if d == nil || least <= d.AsDuration() && d.AsDuration() <= longest {
		return
	}
	v.add(field, "duration.gte", "duration.gte_lte",
		fmt.Sprintf("must be greater than or equal to %ss and less than or equal to %ss", seconds(least), seconds(longest)))
}

// positive checks an interval that may not be zero.
func (v *violations) positive(field string, d *durationpb.Duration, longest time.Duration) {
	if d == nil || 0 < d.AsDuration() && d.AsDuration() <= longest {
		return
	}
	v.add(field, "duration.gt", "duration.gt_lte", fmt.Sprintf("must be greater than 0s and less than or equal to %ss", seconds(longest)))
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// add adds a field, or the request itself for "", that breaks a rule. Both are paths:
// the field's in the request, the rule's in the rules of a field.
func (v *violations) add(field, rule, id, message string) {
	if len(v.list) == mostViolations {
		return
	}
	b, line := validate.Violation_builder{RuleId: &id, Message: &message}, message
	if field != "" {
		b.Field, b.Rule = path(v.request, field), path(&validate.FieldRules{}, rule)
		line = field + ": " + message
	}
	v.list = append(v.list, b.Build())
	v.lines = append(v.lines, line)
}

// err is the client's error, nil if no rule is broken.
func (v *violations) err() error {
	if len(v.list) == 0 {
		return nil
	}
	text := "validation error: " + v.lines[0]
	if len(v.lines) > 1 {
		text = "validation errors:\n - " + strings.Join(v.lines, "\n - ")
	}
	return refusal.Invalid(text, validate.Violations_builder{Violations: v.list}.Build())
}

// path is the path of a text such as positions[3].log_id in a message.
func path(m proto.Message, text string) *validate.FieldPath {
	var elements []*validate.FieldPathElement
	in := m.ProtoReflect().Descriptor()
	for name := range strings.SplitSeq(text, ".") {
		name, index, indexed := strings.Cut(name, "[")
		field := in.Fields().ByName(protoreflect.Name(name))
		b := validate.FieldPathElement_builder{
			FieldNumber: new(int32(field.Number())),
			FieldName:   &name,
			FieldType:   descriptorpb.FieldDescriptorProto_Type(field.Kind()).Enum(),
		}
		if indexed {
			i, _ := strconv.ParseUint(strings.TrimSuffix(index, "]"), 10, 64) // the text is from this file
			b.Index = &i
		}
		elements = append(elements, b.Build())
		in = field.Message()
	}
	return validate.FieldPath_builder{Elements: elements}.Build()
}
