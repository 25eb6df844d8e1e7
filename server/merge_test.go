package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/placement"
)

// of returns the lines of one group's series, whose names begin with its own.
func of(group string, all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(line string) bool { return !strings.HasPrefix(line, group) })
}

// fill writes blocks to both groups, of series that begin with the group's name.
func (two *twoGroups) fill(blocks int) {
	for i, name := range []string{"a", "b"} {
		for n := range blocks {
			two.sources[i].write(
				point{series: fmt.Sprintf(`%s{i="%d"}`, name, n%7), t: int64(n + 1), v: float64(n)},
				point{series: fmt.Sprintf(`%s{i="%d"}`, name, 7+n%3), t: int64(n + 1), v: float64(n)},
			)
		}
	}
}

// want is what the groups have themselves, by name.
func (two *twoGroups) want(t testing.TB, req *getRequest) map[string][]string {
	two.await(t)
	return map[string][]string{
		"a": lines(all(t, two.servers[0][0].call(t, req))...),
		"b": lines(all(t, two.servers[1][0].call(t, req))...),
	}
}

func requireUnion(t testing.TB, want map[string][]string, got []string) {
	t.Helper()
	for group, lines := range want {
		require.Equal(t, strings.Join(lines, "\n"), strings.Join(of(group, got), "\n"))
	}
}

// restoringIf is restoring for a stream with references.
func restoringIf(references bool, t testing.TB, recv receiver) receiver {
	if references {
		recv, _ = restoring(t, recv)
	}
	return recv
}

var fromTheStart = &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.UnixMilli(0))}

// What comes through a router is what its groups have, in their order, over every protocol,
// and resumed at another router after any response.
func TestMergedIsTheUnion(t *testing.T) {
	two := newTwoGroups(t)
	two.fill(300)
	routers := []*merging{newMerging(t, 0, two.groups[:]...), newMerging(t, 0, two.groups[:]...)}
	for title, req := range map[string]*getRequest{
		"replay":   {Start: fromTheStart},
		"snapshot": {},
		"selected": {Start: fromTheStart, Selectors: []string{`{i="1"}`}},
		"one":      {Start: fromTheStart, Selectors: []string{`a`}},
	} {
		for _, references := range []bool{false, true} {
			t.Run(fmt.Sprint(title, references), func(t *testing.T) {
				want := two.want(t, req)
				overAll(t, func(t *testing.T, p protocol) {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					open := func(router int, q *getRequest) receiver {
						return restoringIf(references, t, p.open(t, ctx, routers[router%2].address, request(references, q)))
					}
					whole := all(t, open(0, req))
					requireUnion(t, want, lines(whole...))
					for i := range whole {
						if whole[i].GetCursor() == "" {
							continue
						}
						resumed := &getRequest{Start: after(whole[i].GetCursor()), Selectors: req.GetSelectors()}
						got := append(lines(whole[:i+1]...), lines(all(t, open(i, resumed))...)...)
						requireUnion(t, want, got)
					}
				})
			})
		}
	}
}

// A follower through a router gets all that is written, once and in order, though it moves
// to another router after any response, and its routers' streams are cut at random.
func TestMergedUnderCuts(t *testing.T) {
	two := newTwoGroups(t)
	routers := []*merging{newMerging(t, 0, two.groups[:]...), newMerging(t, 0, two.groups[:]...)}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var writing, cutting sync.WaitGroup
	for i, name := range []string{"a", "b"} {
		writing.Go(func() {
			for n := range 400 {
				two.sources[i].write(point{series: fmt.Sprintf(`%s{i="%d"}`, name, n%50), t: int64(n + 2), v: float64(n)})
				time.Sleep(time.Millisecond)
			}
			two.sources[i].write(point{series: name + "_last", t: 9999, v: 1})
		})
	}
	stopCutting := make(chan struct{})
	cutting.Go(func() {
		for {
			select {
			case <-stopCutting:
				return
			case <-time.After(rand.N(30 * time.Millisecond)):
			}
			two.groups[rand.N(2)].paths[rand.N(2)].breakOff()
		}
	})
	var mu sync.Mutex
	got := map[string][]string{}
	var following sync.WaitGroup
	for _, p := range protocols {
		following.Go(func() {
			var mine []string
			at := ""
			for !finished(mine) && ctx.Err() == nil {
				references := rand.N(2) == 0
				req := request(references, &getRequest{Follow: true, Start: fromTheStart})
				if at != "" {
					req.Start = after(at)
				}
				inner, leave := context.WithCancel(ctx)
				recv := restoringIf(references, t, p.open(t, inner, routers[rand.N(2)].address, req))
				for range 1 + rand.N(40) {
					r, err := recv()
					if err != nil {
						break
					}
					assert.NotEmpty(t, r.GetCursor())
					mine = append(mine, lines(r)...)
					at = r.GetCursor()
					if finished(mine) {
						break
					}
				}
				leave()
			}
			mu.Lock()
			defer mu.Unlock()
			got[p.name] = mine
		})
	}
	writing.Wait()
	following.Wait()
	close(stopCutting)
	cutting.Wait()
	want := two.want(t, &getRequest{Start: fromTheStart})
	for _, p := range protocols {
		requireUnion(t, want, got[p.name])
	}
}

func finished(lines []string) bool {
	return slices.Contains(lines, "a_last 1 @9999") && slices.Contains(lines, "b_last 1 @9999")
}

// One stream that stays open outlives cuts of all its servers, without a word, and has each
// label reference once.
func TestMergedOutlivesServers(t *testing.T) {
	two := newTwoGroups(t)
	r := newMerging(t, 0, two.groups[:]...)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		recv, _ := restoring(t, p.open(t, ctx, r.address, request(true, &getRequest{Follow: true})))
		until(t, recv, isSynced)
		var got []string
		for i := range 30 {
			for j, group := range []string{"a", "b"} {
				two.groups[j].paths[i%2].breakOff()
				two.sources[j].write(point{series: fmt.Sprintf("%s_cut{p=%q}", group, p.name), t: int64(i + 1), v: 1})
			}
			until(t, recv, func(r *getResponse) bool {
				require.Nil(t, r.GetSynced(), "it is said once")
				got = append(got, lines(r)...)
				return slices.Contains(got, fmt.Sprintf("a_cut{p=%q} 1 @%d", p.name, i+1)) && slices.Contains(got, fmt.Sprintf("b_cut{p=%q} 1 @%d", p.name, i+1))
			})
		}
		slices.Sort(got)
		require.Equal(t, slices.Compact(slices.Clone(got)), got, "nothing comes twice")
	})
}

// A group that is away is told of; the other goes on, and when it comes back nothing is
// missing. Who does not want that is refused.
func TestMergedWhileAGroupIsAway(t *testing.T) {
	two := newTwoGroups(t)
	r := newMerging(t, 0, two.groups[:]...)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		recv := p.open(t, ctx, r.address, &getRequest{Follow: true, HeartbeatInterval: durationpb.New(100 * time.Millisecond)})
		until(t, recv, isSynced)
		refusing := p.open(t, ctx, r.address, &getRequest{Follow: true, WhenAway: metricsv1.WhenAway_WHEN_AWAY_REFUSE})
		until(t, refusing, isSynced)
		two.groups[1].setAway(true)
		defer two.groups[1].setAway(false)
		until(t, recv, func(r *getResponse) bool { return slices.Equal([]string{"b"}, r.GetAway().GetGroups()) })
		for {
			if _, err := refusing(); err != nil {
				require.ErrorContains(t, err, "no server answers of group b")
				require.Equal(t, connect.CodeUnavailable, codeOf(err))
				break
			}
		}
		_, err := p.open(t, ctx, r.address, &getRequest{WhenAway: metricsv1.WhenAway_WHEN_AWAY_REFUSE})()
		require.ErrorContains(t, err, "no server answers of group b")
		late := p.open(t, ctx, r.address, &getRequest{Start: fromTheStart})
		want := two.want(t, &getRequest{Start: fromTheStart})
		told := until(t, late, func(r *getResponse) bool { return r.GetAway() != nil })
		require.NotEmpty(t, lastCursor(told), "who waits for a group has a cursor all the same")

		at := now()
		two.sources[0].write(point{series: "a_away", t: at, v: 1})
		two.sources[1].write(point{series: "b_away", t: at, v: 1})
		seen := until(t, recv, func(r *getResponse) bool { return len(lines(r)) > 0 })
		require.Equal(t, []string{fmt.Sprintf("a_away 1 @%d", at)}, lines(seen...))
		two.groups[1].setAway(false)
		back, came := false, false
		seen = until(t, recv, func(r *getResponse) bool {
			back = back || r.GetAway() != nil && len(r.GetAway().GetGroups()) == 0
			came = came || len(lines(r)) > 0
			return back && came
		})
		require.Equal(t, []string{fmt.Sprintf("b_away 1 @%d", at)}, lines(seen...))
		rest := append(lines(told...), lines(all(t, late)...)...)
		want["b"] = two.want(t, &getRequest{Start: fromTheStart})["b"]
		// Whether a's present was before or after this one was written is chance.
		rest = slices.DeleteFunc(rest, func(line string) bool { return line == fmt.Sprintf("a_away 1 @%d", at) })
		requireUnion(t, want, rest)
	})
}

// A group that is added comes from its oldest block on, to streams that are open, and at a
// cursor from before; one that is removed is read to its end.
func TestMergedAsGroupsChange(t *testing.T) {
	two := newTwoGroups(t)
	two.fill(20)
	two.await(t)
	want := two.want(t, &getRequest{Start: fromTheStart})
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r := newMerging(t, 0, two.groups[0])
		recv, _ := restoring(t, p.open(t, ctx, r.address, request(true, &getRequest{Follow: true, Start: fromTheStart})))
		before := until(t, recv, isSynced)
		r.setGroups(two.groups[:]...)
		var got []string
		until(t, recv, func(r *getResponse) bool { got = append(got, lines(r)...); return len(got) >= len(want["b"]) })
		require.Equal(t, want["b"], got)
		again := all(t, p.open(t, ctx, r.address, &getRequest{Start: after(lastCursor(before))}))
		require.Equal(t, want["b"], lines(again...))
		end := lastCursor(again)

		at := now()
		two.sources[0].write(point{series: "a_left", t: at, v: 1})
		two.await(t)
		r.setGroups(two.groups[1])
		two.sources[1].write(point{series: "b_left", t: at, v: 1})
		got = nil
		until(t, recv, func(r *getResponse) bool { got = append(got, lines(r)...); return len(got) >= 2 })
		require.ElementsMatch(t, []string{fmt.Sprintf("a_left 1 @%d", at), fmt.Sprintf("b_left 1 @%d", at)}, got)
		responses := all(t, p.open(t, ctx, r.address, &getRequest{Start: after(end)}))
		require.Contains(t, responses[0].GetGap().GetReason(), "no group has the log")
		require.Equal(t, fmt.Sprintf("[b_left 1 @%d]", at), fmt.Sprint(lines(responses...)))
		want = two.want(t, &getRequest{Start: fromTheStart})
	})
}

// What one server says of a cursor or selector that it cannot serve, a router says.
func TestMergedErrors(t *testing.T) {
	two := newTwoGroups(t)
	r := newMerging(t, 0, two.groups[:]...)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for title, c := range map[string]struct {
			req  *getRequest
			code connect.Code
		}{
			"selector": {&getRequest{Selectors: []string{"{"}}, connect.CodeInvalidArgument},
			"junk":     {&getRequest{Start: after("junk")}, connect.CodeInvalidArgument},
			"unknown":  {&getRequest{Start: after((&cursor.Cursor{Positions: []cursor.Position{{Log: [16]byte{1}, Sequence: 1}}}).String())}, connect.CodeOutOfRange},
		} {
			_, err := p.open(t, ctx, r.address, c.req)()
			require.Equal(t, c.code, codeOf(err), "%s: %v", title, err)
		}
	})
}

// In the time after an instant at which series have moved, a snapshot has each once, as it
// is in its new group, and one that has no sample there yet as it was.
func TestMergedSnapshotOfMovedSeries(t *testing.T) {
	at := now()
	p, err := placement.New(2, placement.ByLabels, []string{"i"}, []placement.Epoch{
		{From: placement.Ever, Groups: []string{"a"}}, {From: at - 60000, Groups: []string{"a", "b"}},
	})
	require.NoError(t, err)
	two := newTwoGroups(t)
	var want []string
	late := true
	for i := range 200 {
		text := fmt.Sprint(i)
		series := fmt.Sprintf(`m{i=%q}`, text)
		two.sources[0].write(point{series: series, t: at - 90000, v: 1})
		line := fmt.Sprintf("%s 1 @%d", series, at-90000)
		if p.Group(placement.KeyOf(text), at) == "b" {
			if !late {
				two.sources[1].write(point{series: series, t: at, v: 2})
				line = fmt.Sprintf("%s 2 @%d", series, at)
			}
			late = false
		}
		want = append(want, line)
	}
	two.await(t)
	r := newMerging(t, 0, two.groups[:]...)
	r.streams.Placement = func() *placement.Placement { return p }
	overAll(t, func(t *testing.T, proto protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, references := range []bool{false, true} {
			recv := restoringIf(references, t, proto.open(t, ctx, r.address, request(references, &getRequest{Selectors: []string{"m"}})))
			require.ElementsMatch(t, want, lines(all(t, recv)...))
		}
	})
}
