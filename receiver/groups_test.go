package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/units"
	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/placement"
)

// groupsFile is one that tests write.
type groupsFile struct {
	path    string
	version int
	spread  string
	groups  map[string]*fakeForwarder
	epochs  []string
}

// newGroupsFile has a group of each forwarder: a, b, and so on.
func newGroupsFile(t *testing.T, spread string, forwarders ...*fakeForwarder) *groupsFile {
	t.Helper()
	g := &groupsFile{path: filepath.Join(t.TempDir(), "groups.yml"), spread: spread, groups: map[string]*fakeForwarder{}}
	for i, f := range forwarders {
		g.groups[string(rune('a'+i))] = f
	}
	g.epochs = []string{"groups: [" + strings.Join(g.names(), ", ") + "]"}
	g.write(t)
	return g
}

func (g *groupsFile) names() (all []string) {
	for name := range g.groups {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// write writes the next version.
func (g *groupsFile) write(t *testing.T) {
	t.Helper()
	g.version++
	text := fmt.Sprintf("version: %d\nspread: {%s}\ngroups:\n", g.version, g.spread)
	for _, name := range g.names() {
		text += fmt.Sprintf("  %s: {forwarders: %q}\n", name, g.groups[name].addr)
	}
	text += "epochs:\n- " + strings.Join(g.epochs, "\n- ") + "\n"
	require.NoError(t, os.WriteFile(g.path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(g.path+".new", g.path))
}

// add adds a group from then on.
func (g *groupsFile) add(name string, f *fakeForwarder, from time.Time) {
	g.groups[name] = f
	g.epochs = append(g.epochs, fmt.Sprintf("{from: %s, groups: [%s]}", from.UTC().Format(time.RFC3339), strings.Join(g.names(), ", ")))
}

// startSpread runs a receiver that is connected to a forwarder of each group.
func startSpread(t *testing.T, g *groupsFile, configure func(*Config)) *running {
	t.Helper()
	r := start(t, nil, func(c *Config) {
		c.Forwarder, c.GroupsFile = DefaultConfig().Forwarder, g.path
		if configure != nil {
			configure(c)
		}
	})
	require.Eventually(t, func() bool { return r.Ready() == nil }, 30*time.Second, time.Millisecond)
	return r
}

// A forwarder might read more of such a body than the receiver did, and take all of it.
func TestBodyThatCannotBeTakenApart(t *testing.T) {
	forwarders := several(t, 2)
	r := startSpread(t, newGroupsFile(t, "labels: [instance]", forwarders...), nil)
	a := r.post(t, typeV2, snappy.Encode(nil, []byte("\x22\x00\x22\x02up\x2a\x06\x0a\x01\x80\x0a\x01\x00")))
	require.Equal(t, http.StatusBadRequest, a.code, a.body)
	require.Contains(t, a.body, "cannot be taken apart for groups")
	for _, f := range forwarders {
		require.Empty(t, f.got())
	}
}

// bodyOf is of series with a sample each at a time.
func bodyOf(t *testing.T, series int, at time.Time) []byte {
	t.Helper()
	body := &prompb.WriteRequest{}
	for i := range series {
		body.Timeseries = append(body.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "instance", Value: fmt.Sprint("host-", i)}},
			Samples: []prompb.Sample{{Value: 1, Timestamp: at.UnixMilli()}},
		})
	}
	raw, err := body.Marshal()
	require.NoError(t, err)
	return snappy.Encode(nil, raw)
}

// instances returns which series a forwarder got.
func (f *fakeForwarder) instances(t *testing.T) (all []string) {
	t.Helper()
	for _, b := range f.got() {
		raw, err := snappy.Decode(nil, b.GetBody())
		require.NoError(t, err)
		var body prompb.WriteRequest
		require.NoError(t, body.Unmarshal(raw))
		for _, ts := range body.Timeseries {
			all = append(all, ts.Labels[1].Value)
		}
	}
	return all
}

// counts says that as many samples were written as there are series, and as many
// histograms and exemplars as there are parts.
func counts(b *linkv1.Batch) *linkv1.Verdict {
	raw, _ := snappy.Decode(nil, b.GetBody())
	var body prompb.WriteRequest
	if err := body.Unmarshal(raw); err != nil {
		return &linkv1.Verdict{Code: linkv1.Code_CODE_INVALID, Errors: []string{err.Error()}}
	}
	return &linkv1.Verdict{Code: linkv1.Code_CODE_OK, SamplesWritten: uint64(len(body.Timeseries)), HistogramsWritten: 1, ExemplarsWritten: 1}
}

func TestSeriesAreSpread(t *testing.T) {
	forwarders := several(t, 3)
	g := newGroupsFile(t, "labels: [instance]", forwarders...)
	r, another := startSpread(t, g, nil), startSpread(t, g, nil)
	body := bodyOf(t, 60, time.Now())
	a := r.post(t, typeV1, body)
	require.Equal(t, http.StatusNoContent, a.code, a.body)
	require.Equal(t, http.StatusNoContent, another.post(t, typeV1, body).code)
	var all []string
	for i, f := range forwarders {
		batches := f.got()
		require.Len(t, batches, 2)
		require.True(t, bytes.Equal(batches[0].GetBody(), batches[1].GetBody()), "the same bytes at every receiver")
		require.Equal(t, linkv1.Schema_SCHEMA_WRITE_V1, batches[0].GetSchema())
		hello := f.lastHello()
		require.Equal(t, g.names()[i], hello.GetGroup())
		p, err := placement.Parse(hello.GetPlacement())
		require.NoError(t, err)
		require.Equal(t, uint64(1), p.Version())
		all = append(all, f.instances(t)...)
	}
	require.Len(t, all, 120)
	slices.Sort(all)
	require.Len(t, slices.Compact(all), 60, "each series is at one group")
	require.Equal(t, 1.0, testutil.ToFloat64(r.groups.metrics.groupsVersion))
	require.Equal(t, 1.0, testutil.ToFloat64(r.groups.metrics.forwarderUsed.WithLabelValues("a", forwarders[0].addr, "ok")))
}

// Counts of all parts add up, and what is wrong is told with its group.
func TestAnswersOfGroups(t *testing.T) {
	forwarders := several(t, 3)
	g := newGroupsFile(t, "labels: [instance]", forwarders...)
	r := startSpread(t, g, nil)
	body := bodyOf(t, 60, time.Now())
	for _, f := range forwarders {
		f.set(counts)
	}
	batch := &linkv1.Batch{Schema: linkv1.Schema_SCHEMA_WRITE_V1, Body: body}
	v, err := r.groups.write(t.Context(), origin{}, batch, func(int64) error { return nil })
	require.NoError(t, err)
	require.Equal(t, [3]uint64{60, 3, 3}, [3]uint64{v.GetSamplesWritten(), v.GetHistogramsWritten(), v.GetExemplarsWritten()})

	forwarders[1].set(func(*linkv1.Batch) *linkv1.Verdict {
		return &linkv1.Verdict{Code: linkv1.Code_CODE_INVALID, SamplesWritten: 4, Rejected: 2, Errors: []string{"it is wrong"}}
	})
	a := r.post(t, typeV1, body)
	require.Equal(t, http.StatusBadRequest, a.code)
	require.Contains(t, a.body, "2 rejected; ")
	require.Contains(t, a.body, "group b: it is wrong")

	forwarders[2].always(linkv1.Code_CODE_UNAVAILABLE, "no room")
	r.post(t, typeV1, body).mustRetry(t, "group c: the forwarder cannot write now: no room")
}

func TestMerge(t *testing.T) {
	const (
		good, invalid, tooLarge, unavailable = linkv1.Code_CODE_OK, linkv1.Code_CODE_INVALID, linkv1.Code_CODE_TOO_LARGE, linkv1.Code_CODE_UNAVAILABLE
		unconfirmed, undecided               = linkv1.Code_CODE_UNCONFIRMED, linkv1.Code_CODE_UNDECIDED
	)
	for _, test := range []struct {
		codes []linkv1.Code
		want  linkv1.Code // 0: to be sent again
	}{
		{[]linkv1.Code{good}, good}, {[]linkv1.Code{unavailable}, unavailable}, {[]linkv1.Code{tooLarge}, tooLarge},
		{[]linkv1.Code{good, good}, good}, {[]linkv1.Code{good, invalid}, invalid}, {[]linkv1.Code{invalid, invalid, good}, invalid},
		{[]linkv1.Code{tooLarge, tooLarge}, tooLarge}, {[]linkv1.Code{tooLarge, good}, invalid}, {[]linkv1.Code{tooLarge, invalid}, invalid},
		{[]linkv1.Code{good, unavailable}, 0}, {[]linkv1.Code{unconfirmed, good}, 0}, {[]linkv1.Code{invalid, undecided}, 0},
		{[]linkv1.Code{tooLarge, unavailable}, 0}, {[]linkv1.Code{good, 0}, 0}, {[]linkv1.Code{99, good}, 0},
	} {
		var all []outcome
		for i, code := range test.codes {
			all = append(all, outcome{group: fmt.Sprint(i), verdict: &linkv1.Verdict{Code: code, SamplesWritten: 1, Rejected: 2, Errors: []string{"why"}}})
		}
		v, err := merge(all)
		if test.want == 0 {
			require.ErrorContains(t, err, "group ", "%v", test.codes)
			require.Equal(t, http.StatusServiceUnavailable, statusOf(v, err))
			continue
		}
		require.NoError(t, err)
		require.Equal(t, test.want, v.GetCode(), "%v", test.codes)
		require.Equal(t, statusOf(&linkv1.Verdict{Code: test.want}, nil), statusOf(v, err))
	}
}

// A group that is away has its senders repeat; the others recognise what they have, as it
// is the same bytes.
func TestGroupThatIsAway(t *testing.T) {
	forwarders := several(t, 2)
	g := newGroupsFile(t, "labels: [instance]", forwarders...)
	r := startSpread(t, g, nil)
	forwarders[1].kill()
	body := bodyOf(t, 40, time.Now())
	require.Eventually(t, func() bool { return r.Ready() != nil }, 30*time.Second, time.Millisecond)
	require.ErrorContains(t, r.Ready(), "group b: ")
	r.post(t, typeV1, body).mustRetry(t, "group b: forwarder "+forwarders[1].addr)
	again := newForwarder(t, forwarders[1].addr)
	require.Eventually(t, func() bool { return r.Ready() == nil }, 30*time.Second, time.Millisecond)
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, body).code)
	at := forwarders[0].got()
	require.Len(t, at, 2)
	require.True(t, bytes.Equal(at[0].GetBody(), at[1].GetBody()))
	require.Len(t, again.got(), 1)
	all := slices.Concat(forwarders[0].instances(t), again.instances(t))
	slices.Sort(all)
	require.Len(t, slices.Compact(all), 40)
}

// A sender whose samples are of one group sends nothing to the others.
func TestSpreadBySenderAndTenant(t *testing.T) {
	for _, by := range []string{"sender: true", "tenant: true"} {
		forwarders := several(t, 2)
		g := newGroupsFile(t, by, forwarders...)
		r := startSpread(t, g, func(c *Config) { c.TenantLabel = "tenant" })
		for range 2 {
			for i, s := range r.senders(40) {
				s.send(t, "X-Scope-OrgID", fmt.Sprint("t", i))
			}
		}
		one, two := forwarders[0].from(t), forwarders[1].from(t)
		require.NotEmpty(t, one)
		require.NotEmpty(t, two)
		require.Len(t, slices.Concat(one, two), 40, "each is at one group")
	}
}

// A group is added while senders write: none is refused, all links say the new placement
// long before the instant, and samples from then on go to the new group.
func TestGroupIsAddedWhileSendersWrite(t *testing.T) {
	forwarders := several(t, 3)
	g := newGroupsFile(t, "labels: [instance]", forwarders[:2]...)
	r := startSpread(t, g, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	answers := map[int]int{}
	var mu sync.Mutex
	body := bodyOf(t, 40, time.Now())
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a := r.try(http.MethodPost, "/api/v1/write", typeV1, bytes.NewReader(body))
				mu.Lock()
				answers[a.code]++
				mu.Unlock()
			}
		})
	}
	instant := time.Now().Add(time.Hour).Truncate(time.Second)
	g.add("c", forwarders[2], instant)
	g.write(t)
	for _, f := range forwarders {
		require.Eventually(t, func() bool {
			p, err := placement.Parse(f.lastHello().GetPlacement())
			return err == nil && p.Version() == 2
		}, 30*time.Second, time.Millisecond)
	}
	require.Eventually(t, func() bool { return r.Ready() == nil }, 30*time.Second, time.Millisecond)
	close(stop)
	wg.Wait()
	require.Len(t, answers, 1)
	require.Positive(t, answers[http.StatusNoContent])
	require.Empty(t, forwarders[2].got())

	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, bodyOf(t, 40, instant.Add(-time.Millisecond))).code)
	require.Empty(t, forwarders[2].got())
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, bodyOf(t, 40, instant)).code)
	moved := forwarders[2].instances(t)
	require.NotEmpty(t, moved)
	require.Less(t, len(moved), 30)
	require.Equal(t, 2.0, testutil.ToFloat64(r.groups.metrics.groupsVersion))
}

// A file that is wrong, or that moves series too soon, changes nothing and is told of.
func TestGroupsFileThatIsWrong(t *testing.T) {
	forwarders := several(t, 3)
	g := newGroupsFile(t, "labels: [instance]", forwarders[:2]...)
	r := startSpread(t, g, nil)
	var again func() error
	for _, reload := range r.Reloads() {
		if reload.What == placement.Flag {
			again = reload.Again
		}
	}
	require.NoError(t, again())
	require.Zero(t, testutil.ToFloat64(r.groups.metrics.groupsWrong))
	g.add("c", forwarders[2], time.Now().Add(aheadOfMoves-2*time.Second))
	g.write(t)
	require.ErrorContains(t, again(), "an instant has to be 30s ahead")
	require.Contains(t, r.log.String(), "the last value stays in use")
	require.Equal(t, 1.0, testutil.ToFloat64(r.groups.metrics.groupsWrong))
	require.NoError(t, r.Ready())
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, bodyOf(t, 40, time.Now())).code)
	require.Empty(t, forwarders[2].got())
	require.Equal(t, 1.0, testutil.ToFloat64(r.groups.metrics.groupsVersion))
}

// A forwarder whose log has a newer version refuses links. The receiver takes that version
// then, though by itself it would be too late, and its senders come again until it has.
func TestVersionThatForwardersHave(t *testing.T) {
	forwarders := several(t, 3)
	g := newGroupsFile(t, "labels: [instance]", forwarders[:2]...)
	r := startSpread(t, g, nil)
	g.add("c", forwarders[2], time.Now().Add(aheadOfMoves/2))
	g.write(t)
	require.Eventually(t, func() bool { return testutil.ToFloat64(r.groups.metrics.groupsWrong) == 1 }, 30*time.Second, time.Millisecond)
	require.NoError(t, r.Ready())
	newer := func(hello *linkv1.Hello) error {
		if p, err := placement.Parse(hello.GetPlacement()); err != nil || p.Version() < 2 {
			return &link.MisplacedError{Version: 2, Err: errors.New("the log has version 2")}
		}
		return nil
	}
	address := forwarders[0].addr
	forwarders[0].kill()
	require.Eventually(t, func() bool { return r.Ready() != nil }, 30*time.Second, time.Millisecond)
	another := newForwarderBy(t, address, link.Trust{}, newer)
	require.Eventually(t, func() bool { return r.Ready() == nil }, 30*time.Second, time.Millisecond)
	require.Positive(t, testutil.ToFloat64(r.groups.metrics.misplaced.WithLabelValues("a")))
	require.Contains(t, r.log.String(), "the log has version 2")
	require.Equal(t, 2.0, testutil.ToFloat64(r.groups.metrics.groupsVersion))
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, bodyOf(t, 40, time.Now().Add(aheadOfMoves))).code)
	require.NotEmpty(t, another.got())
	require.NotEmpty(t, forwarders[2].got())
}

// A receiver that one group has told of a newer file gives no group anything by its own: what
// a log has of the time after an instant would keep it from taking that file.
func TestReceiverThatIsBehind(t *testing.T) {
	forwarders := several(t, 3)
	g := newGroupsFile(t, "labels: [instance]", forwarders[:2]...)
	r := startSpread(t, g, nil)
	address := forwarders[0].addr
	forwarders[0].kill()
	another := newForwarderBy(t, address, link.Trust{}, func(hello *linkv1.Hello) error {
		if p, err := placement.Parse(hello.GetPlacement()); err != nil || p.Version() < 2 {
			return &link.MisplacedError{Version: 2, Err: errors.New("the log has version 2")}
		}
		return nil
	})
	behind := "version 1 of --groups.file is in use, and others have 2"
	require.Eventually(t, func() bool { err := r.Ready(); return err != nil && strings.Contains(err.Error(), behind) }, 30*time.Second, time.Millisecond)
	a := r.post(t, typeV1, bodyOf(t, 40, time.Now()))
	require.Equal(t, http.StatusServiceUnavailable, a.code)
	require.Contains(t, a.body, behind)
	require.Empty(t, forwarders[1].got())

	g.add("c", forwarders[2], time.Now().Add(time.Hour))
	g.write(t)
	require.Eventually(t, func() bool { return r.Ready() == nil }, 30*time.Second, time.Millisecond)
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, bodyOf(t, 40, time.Now())).code)
	require.NotEmpty(t, another.got())
	require.NotEmpty(t, forwarders[1].got())
}

// A receiver whose file is another of the same version than forwarders have is put right by
// the file alone.
func TestAnotherFileOfAVersion(t *testing.T) {
	forwarders := several(t, 2)
	g := newGroupsFile(t, "labels: [instance]", forwarders...)
	instant := time.Now().Add(time.Hour)
	right := "{from: " + instant.UTC().Format(time.RFC3339) + ", groups: [a]}"
	g.epochs = append(g.epochs, "{from: "+instant.Add(time.Hour).UTC().Format(time.RFC3339)+", groups: [a]}")
	g.write(t)
	r := startSpread(t, g, nil)
	address := forwarders[0].addr
	forwarders[0].kill()
	newForwarderBy(t, address, link.Trust{}, func(hello *linkv1.Hello) error {
		p, err := placement.Parse(hello.GetPlacement())
		if err != nil || p.Epochs()[1].From/1000 != instant.Unix() {
			return &link.MisplacedError{Version: 2, Err: errors.New("another groups file of the same version")}
		}
		return nil
	})
	require.Eventually(t, func() bool { return testutil.ToFloat64(r.groups.metrics.misplaced.WithLabelValues("a")) > 0 }, 30*time.Second, time.Millisecond)
	require.Error(t, r.Ready())
	g.epochs[1], g.version = right, g.version-1
	g.write(t)
	require.Eventually(t, func() bool { return r.Ready() == nil }, 30*time.Second, time.Millisecond)
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, bodyOf(t, 40, time.Now())).code)
}

// A request that was taken apart by a file does not go over links that say the next one: by
// that its samples may belong elsewhere.
func TestRequestThatWasSpreadBefore(t *testing.T) {
	forwarders := several(t, 3)
	g := newGroupsFile(t, "labels: [instance]", forwarders[:2]...)
	r := startSpread(t, g, nil)
	before := r.groups.current.Load()
	instant := time.Now().Add(time.Hour)
	g.add("c", forwarders[2], instant)
	g.write(t)
	require.Eventually(t, func() bool {
		return r.groups.current.Load().placement.Version() == 2 && r.Ready() == nil
	}, 30*time.Second, time.Millisecond)
	write := func(by *routes) error {
		batch := &linkv1.Batch{Schema: linkv1.Schema_SCHEMA_WRITE_V1, Body: bodyOf(t, 40, instant.Add(time.Minute))}
		_, err := r.groups.spread(t.Context(), by, origin{}, batch, func(int64) error { return nil })
		return err
	}
	require.ErrorIs(t, write(before), errReplaced)
	for _, f := range forwarders {
		require.Empty(t, f.got())
	}
	require.NoError(t, write(r.groups.current.Load()))
	require.NotEmpty(t, forwarders[2].got())
}

// A group that the file has no longer gets nothing: what belongs there is invalid.
func TestGroupThatIsGone(t *testing.T) {
	forwarders := several(t, 2)
	g := newGroupsFile(t, "labels: [instance]", forwarders...)
	instant := time.Now().Add(-time.Hour).Truncate(time.Second)
	delete(g.groups, "b")
	g.epochs = append(g.epochs, fmt.Sprintf("{from: %s, groups: [a]}", instant.UTC().Format(time.RFC3339)))
	g.write(t)
	r := startSpread(t, g, nil)
	a := r.post(t, typeV1, bodyOf(t, 40, instant.Add(-time.Second)))
	require.Equal(t, http.StatusBadRequest, a.code)
	require.Contains(t, a.body, "belong to group b, which --groups.file has no longer")
	require.NotEmpty(t, forwarders[0].got())
	require.Equal(t, http.StatusNoContent, r.post(t, typeV1, bodyOf(t, 40, instant)).code)
}

// To take bodies apart takes room, which other requests may have.
func TestRoomToTakeApart(t *testing.T) {
	forwarders := several(t, 2)
	g := newGroupsFile(t, "labels: [instance]", forwarders...)
	r := startSpread(t, g, nil)
	c := DefaultConfig()
	c.GroupsFile, c.RequestBytes, c.DecodedBytes, c.PeerShare = g.path, units.MiB, units.MiB, 100
	c.InflightBytes = c.RequestBytes + units.Base2Bytes(c.splitRoom()) + units.MiB
	require.NoError(t, c.check())
	h := newHandler(c, r.groups, &writers{}, slog.New(slog.DiscardHandler), r.groups.metrics)
	post := func(body []byte) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body)))
		require.LessOrEqual(t, h.budget.Used(), int64(units.MiB)*3)
		return w
	}
	large := bodyOf(t, 16_000, time.Now())
	require.Equal(t, http.StatusNoContent, post(large).Code)
	require.Zero(t, h.budget.Used())
	require.Zero(t, testutil.ToFloat64(h.metrics.inflightBytes))

	// One that is made of small series which go to the groups in turn takes more than there may be.
	pair := "\x0a\x00\x0a\x0f\x0a\x0d\x0a\x08instance\x12\x01"
	by, other := r.groups.current.Load().placement, "a"
	for by.InEpoch(0, placement.KeyOf(other)) == by.InEpoch(0, placement.KeyOf("")) {
		other = string(other[0] + 1)
	}
	w := post(snappy.Encode(nil, bytes.Repeat([]byte(pair+other), int(units.MiB)/(len(pair)+1))))
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
	require.Contains(t, w.Body.String(), "no room to take the body apart")
	require.Contains(t, w.Body.String(), flagInflightBytes)
	require.Zero(t, h.budget.Used())

	hold := h.budget.Hold("another")
	require.NoError(t, hold.Resize(int64(units.MiB)*3))
	w = post(large)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "no room to take the body apart")
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	hold.Release()
	require.Equal(t, http.StatusNoContent, post(large).Code)
}

func TestGroupsAreChecked(t *testing.T) {
	g := newGroupsFile(t, "labels: [instance]", several(t, 1)...)
	for want, change := range map[string]func(*Config){
		"--groups.file names the forwarders, so --forwarder has to be left out": func(c *Config) { c.Forwarder = "a:1" },
		"to take a request apart for groups takes 112MiB":                       func(c *Config) { c.InflightBytes = 100 * units.MiB },
	} {
		c := DefaultConfig()
		c.GroupsFile = g.path
		change(&c)
		require.ErrorContains(t, c.check(), want)
	}
	for text, want := range map[string]string{
		"groups: {a: {forwarders: x:1}}": "spread: it is missing",
		"version: 1\nspread: {sender: true}\ngroups:\n  a: {servers: x:1}\nepochs: [{groups: [a]}]":      "line 4: groups.a: it has no forwarders",
		"version: 1\nspread: {sender: true}\ngroups:\n  a: {forwarders: x://1}\nepochs: [{groups: [a]}]": "line 4: groups.a.forwarders: ",
	} {
		f, err := placement.ParseFile([]byte(text))
		require.NoError(t, err)
		require.ErrorContains(t, checkGroups(f), want)
	}
}
