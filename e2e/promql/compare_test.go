package promql

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// api is one of those that are compared.
type api struct{ name, url string }

// answer is what an API said.
type answer struct {
	status int
	Data   struct {
		ResultType string
		Result     json.RawMessage
	}
	Error           string
	ErrorType       string
	Warnings, Infos []string
}

// get asks for what is below /api/v1/, and returns the status and the body.
func (a api) get(t testing.TB, path string, parameters url.Values) (int, []byte) {
	t.Helper()
	res, err := http.PostForm(a.url+"/api/v1/"+path, parameters)
	if err == nil && res.StatusCode == http.StatusMethodNotAllowed {
		_ = res.Body.Close()
		res, err = http.Get(a.url + "/api/v1/" + path + "?" + parameters.Encode())
	}
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, body
}

func (a api) query(t testing.TB, path string, parameters url.Values) *answer {
	t.Helper()
	status, body := a.get(t, path, parameters)
	got := &answer{status: status}
	require.NoError(t, json.Unmarshal(body, got), "%s: %s %v: %s", a.name, path, parameters, body)
	slices.Sort(got.Warnings)
	slices.Sort(got.Infos)
	return got
}

// points are what an answer has of each series, by labels and time.
func (a *answer) points(t testing.TB) map[string]any {
	t.Helper()
	all := map[string]any{"type": a.Data.ResultType}
	switch a.Data.ResultType {
	case "scalar", "string":
		all["value"] = decoded(t, a.Data.Result)
	case "vector", "matrix":
		var list []struct {
			Metric             map[string]string
			Value, Histogram   []any
			Values, Histograms [][]any
		}
		require.NoError(t, json.Unmarshal(a.Data.Result, &list))
		for _, s := range list {
			for kind, points := range map[string][][]any{"": append(s.Values, s.Value), " histogram": append(s.Histograms, s.Histogram)} {
				for _, p := range points {
					if len(p) > 0 {
						all[fmt.Sprintf("%q%s at %v", sorted(s.Metric), kind, p[0])] = p[1]
					}
				}
			}
		}
	}
	return all
}

// order is the labels of an answer's series, in their order.
func (a *answer) order(t testing.TB) (all []string) {
	t.Helper()
	var list []struct{ Metric map[string]string }
	require.NoError(t, json.Unmarshal(a.Data.Result, &list))
	for _, s := range list {
		all = append(all, sorted(s.Metric))
	}
	return all
}

func sorted(metric map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(metric)) {
		fmt.Fprintf(&b, "%q=%q,", name, metric[name])
	}
	return b.String()
}

func decoded(t testing.TB, data json.RawMessage) (v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(data, &v))
	return v
}

// difference says where two answers differ, "" if they do not.
func difference(t testing.TB, want, got *answer, ordered bool) string {
	t.Helper()
	switch {
	case want.status != got.status, want.ErrorType != got.ErrorType, want.Error != got.Error:
		return fmt.Sprintf("status %d, want %d; error %q %q, want %q %q", got.status, want.status, got.ErrorType, got.Error, want.ErrorType, want.Error)
	case !slices.Equal(want.Warnings, got.Warnings):
		return fmt.Sprintf("warnings %q, want %q", got.Warnings, want.Warnings)
	case !slices.Equal(want.Infos, got.Infos):
		return fmt.Sprintf("infos %q, want %q", got.Infos, want.Infos)
	case want.status != http.StatusOK:
		return ""
	case ordered && !slices.Equal(want.order(t), got.order(t)):
		return fmt.Sprintf("order %q, want %q", got.order(t), want.order(t))
	}
	one, other := want.points(t), got.points(t)
	for at := range maps.Keys(one) {
		if v, ok := other[at]; !ok || !same(one[at], v) {
			return fmt.Sprintf("%s is %v, want %v", at, other[at], one[at])
		}
	}
	for at := range maps.Keys(other) {
		if _, ok := one[at]; !ok {
			return fmt.Sprintf("%s is %v, want nothing", at, other[at])
		}
	}
	return ""
}

// tolerance of floats: both sum in the order of their series, which need not be the same.
const tolerance = 1e-12

// same says whether two decoded values are.
func same(a, b any) bool {
	if list, ok := a.([]any); ok {
		other, ok := b.([]any)
		return ok && slices.EqualFunc(list, other, same)
	}
	if object, ok := a.(map[string]any); ok {
		other, ok := b.(map[string]any)
		return ok && maps.EqualFunc(object, other, same)
	}
	if a == b {
		return true
	}
	one, isOne := a.(string)
	two, isTwo := b.(string)
	if !isOne || !isTwo {
		return false
	}
	x, err := strconv.ParseFloat(one, 64)
	y, other := strconv.ParseFloat(two, 64)
	return err == nil && other == nil && math.Abs(x-y) <= tolerance*max(math.Abs(x), math.Abs(y))
}

// sortedLists is a value whose lists are sorted by their JSON.
func sortedLists(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			v[name] = sortedLists(value)
		}
	case []any:
		for i := range v {
			v[i] = sortedLists(v[i])
		}
		slices.SortFunc(v, func(a, b any) int { return strings.Compare(textOf(a), textOf(b)) })
	}
	return v
}

func textOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// What is not the same is not taken for the same.
func TestDifference(t *testing.T) {
	of := func(body string) *answer {
		a := &answer{status: http.StatusOK}
		require.NoError(t, json.Unmarshal([]byte(body), a))
		return a
	}
	const same = `{"data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"0.3"]},{"metric":{"a":"c"},"histogram":[1,{"count":"1","sum":"2"}]}]}}`
	want := of(same)
	require.Empty(t, difference(t, want, of(strings.Replace(same, "0.3", "0.30000000000000004", 1)), true))
	for from, to := range map[string]string{
		"0.3": "0.30000000001", "0.3\"": "NaN\"", "[1,\"0.3": "[2,\"0.3", `"b"`: `"d"`, `"count":"1"`: `"count":"2"`, "vector": "matrix", `{"data"`: `{"warnings":["x"],"data"`,
		`{"metric":{"a":"b"},"value":[1,"0.3"]},`: "", `[{"metric":{"a":"b"}`: `[{"metric":{"a":"x"},"value":[1,"0"]},{"metric":{"a":"b"}`,
	} {
		require.NotEmpty(t, difference(t, want, of(strings.Replace(same, from, to, 1)), false), from)
	}
	swapped := of(`{"data":{"resultType":"vector","result":[{"metric":{"a":"c"},"histogram":[1,{"count":"1","sum":"2"}]},{"metric":{"a":"b"},"value":[1,"0.3"]}]}}`)
	require.Empty(t, difference(t, want, swapped, false))
	require.NotEmpty(t, difference(t, want, swapped, true))
}
