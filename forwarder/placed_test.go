package forwarder

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/grouping"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/segment"
)

// file is a version of a groups file, of the groups a and b, and of c too from each of some
// times on.
func file(t testing.TB, version uint64, times ...time.Time) *placement.Placement {
	t.Helper()
	epochs := []placement.Epoch{{From: placement.Ever, Groups: []string{"a", "b"}}}
	for i, at := range times {
		groups := [][]string{{"a", "b", "c"}, {"a", "b"}}[i%2]
		epochs = append(epochs, placement.Epoch{From: at.UnixMilli(), Groups: groups})
	}
	p, err := placement.New(version, placement.ByLabels, []string{"job"}, epochs)
	require.NoError(t, err)
	return p
}

// of is a receiver that takes the forwarder to be of a group, by a file. Its error is why it
// is not welcome.
func (r *running) of(group string, p *placement.Placement) (*sender, error) {
	r.t.Helper()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_RECEIVER, Group: group}
	if p != nil {
		hello.Placement = p.Bytes()
	}
	c, _, err := link.Dial(r.t.Context(), r.LinkAddr().String(), hello, link.Options{})
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return &sender{t: r.t, conn: c}, nil
}

func (r *running) mustBeOf(group string, p *placement.Placement) *sender {
	r.t.Helper()
	s, err := r.of(group, p)
	require.NoError(r.t, err)
	return s
}

// misfit checks that an error is the goodbye to a receiver that does not fit, and returns which
// version the log has.
func misfit(t testing.TB, err error) uint64 {
	t.Helper()
	var bye *link.GoodbyeError
	require.ErrorAs(t, err, &bye)
	require.Equal(t, linkv1.GoodbyeCode_GOODBYE_CODE_PLACEMENT, bye.Code, bye.Reason)
	return bye.PlacementVersion
}

// placements are what the blocks of the log say, in order.
func (r *running) placements() (all []segment.Placement) {
	r.t.Helper()
	for _, b := range r.blocks() {
		if !b.Placement.None() {
			all = append(all, b.Placement)
		}
	}
	return all
}

func says(group string, p *placement.Placement) segment.Placement {
	return grouping.Belonging{Group: group, Placement: p}.Segment()
}

// TestPlacementIsInTheLog checks that a placement is in the log before anything that was
// written by it, is there once however many receivers have it, and is known again after
// restarts, from a keyframe too.
func TestPlacementIsInTheLog(t *testing.T) {
	c := testConfig(t.TempDir())
	c.SegmentSize = 1
	first, second := file(t, 3), file(t, 4, time.Now().Add(time.Hour))
	r := start(t, c)
	for range 2 {
		r.mustBeOf("a", first).mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "x")))
	}
	blocks := r.blocks()
	require.Equal(t, []segment.Placement{says("a", first)}, r.placements())
	require.Equal(t, says("a", first), blocks[0].Placement)
	require.Zero(t, blocks[0].Digest)
	require.InDelta(t, 3, testutil.ToFloat64(r.in.metrics.placed.version.WithLabelValues("a")), 0)
	r.stop()

	r = start(t, c) // while its receivers got another file
	require.Equal(t, says("a", first), r.appender.state.head.Placement())
	s := r.mustBeOf("a", second)
	for i := range int64(5) { // each in a segment of its own
		s.mustStore(v1, bodyOf(t, v1, one(2, 10+i, "__name__", "x")))
	}
	require.Equal(t, []segment.Placement{says("a", first), says("a", second)}, r.placements())
	r.stop()

	r = start(t, c)
	require.Equal(t, says("a", second), r.appender.state.head.Placement())
	_, err := r.of("a", first)
	misfit(t, err)
	r.mustBeOf("a", second)
	require.Len(t, r.placements(), 2)
}

// TestReceiversThatDoNotFit checks who is refused, that they are told why, and that each is
// counted.
func TestReceiversThatDoNotFit(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	r.mustBeOf("a", file(t, 3)).mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "x")))
	for reason, c := range map[grouping.Reason]struct {
		group string
		file  *placement.Placement
		why   string
	}{
		grouping.None:  {"", nil, "has no groups file"},
		grouping.Group: {"b", file(t, 3), "takes it to be of group b"},
		grouping.Older: {"a", file(t, 2), "older version of the groups file: 2, and 3 is known"},
		grouping.Other: {"a", file(t, 3, time.Now().Add(time.Hour)), "another groups file of the same version, 3"},
		grouping.Past:  {"a", file(t, 4, time.Now().Add(-time.Hour)), "changes what counts already"},
	} {
		t.Run(string(reason), func(t *testing.T) {
			_, err := r.of(c.group, c.file)
			version := uint64(3)
			if reason == grouping.Group {
				version = 0 // It may be of other groups altogether.
			}
			require.Equal(t, version, misfit(t, err))
			require.ErrorContains(t, err, c.why)
			require.InDelta(t, 1, testutil.ToFloat64(r.in.metrics.placed.refused.WithLabelValues(string(reason))), 0)
		})
	}
	require.Len(t, r.placements(), 1)
	_, _, err := link.Dial(t.Context(), r.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_RECEIVER, Group: "a", Placement: []byte("junk")}, link.Options{})
	misfit(t, err)
}

// TestNoGroups checks that nothing of groups is in the log of a pipeline without any.
func TestNoGroups(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	r.sender().mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "x")))
	require.Empty(t, r.placements())
	require.Len(t, r.blocks(), 1)
}

// TestOlderLinksEnd checks that receivers with an older file are told so once the log has a
// newer one, after the verdicts on what they have sent.
func TestOlderLinksEnd(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	none := r.sender()
	none.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "x")))
	same, older := r.mustBeOf("a", file(t, 3)), r.mustBeOf("a", file(t, 3))
	same.mustStore(v1, bodyOf(t, v1, one(1, 6, "__name__", "x")))
	_, err := none.conn.Receive()
	misfit(t, err)
	_ = same.conn.Close()

	newer := r.mustBeOf("a", file(t, 4, time.Now().Add(time.Hour)))
	_, err = older.conn.Receive()
	require.Equal(t, uint64(4), misfit(t, err))
	require.ErrorContains(t, err, errOutdated.Error())
	newer.mustStore(v1, bodyOf(t, v1, one(1, 7, "__name__", "x")))
	require.Len(t, r.placements(), 2)
}

// TestBatchesOfOlderLinks checks that a batch which was under way while the log got a newer
// placement is not stored after that, and is to come again.
func TestBatchesOfOlderLinks(t *testing.T) {
	c := testConfig(t.TempDir())
	r := start(t, c)
	r.mustBeOf("a", file(t, 3))
	r.stop()

	f, err := New(c, r.logger, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	for version, code := range map[uint64]linkv1.Code{2: linkv1.Code_CODE_UNAVAILABLE, 3: linkv1.Code_CODE_OK} {
		o := &outbox{version: version, wake: make(chan struct{}, 1)}
		j := &job{batch: &linkv1.Batch{Schema: v1, Body: bodyOf(t, v1, one(1, int64(version), "__name__", "x"))}, room: f.room.working.Hold("peer"), to: o}
		f.in.answers.expect()
		f.in.decodeOne(j)
		f.appender.handle(j)
		f.in.answers.next(nil)
		f.in.force(j, f.appender.failed)
		require.Equal(t, code, j.verdict.GetCode(), "%v", j.verdict)
	}
	l, _ := f.appender.log()
	require.Equal(t, uint64(2), l.Last(), "a placement, and the batch of the newest")
}

// TestForwarderThatWasDownOverAnInstant checks that one which wrote nothing since takes a file
// with an instant that is past, and one that did does not.
func TestForwarderThatWasDownOverAnInstant(t *testing.T) {
	for name, c := range map[string]struct {
		idle time.Duration // that nothing was written
		fits bool
	}{"nothing was written": {time.Hour, true}, "it was written to": {0, false}} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(t.TempDir())
			var ahead atomic.Int64
			clock := func(f *Forwarder) {
				f.appender.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			}
			r := start(t, config, clock)
			r.mustBeOf("a", file(t, 1)).mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "x")))
			r.stop()
			ahead.Store(int64(c.idle + time.Minute))
			instant := time.Now().Add(c.idle + underWay/2)
			r = start(t, config, clock)
			_, err := r.of("a", file(t, 2, instant))
			if c.fits {
				require.NoError(t, err)
				return
			}
			misfit(t, err)
		})
	}
}

// TestNewLogThatAnOlderReceiverComesToFirst checks that a log to which nothing was written yet
// takes a file with an instant that is past, though somebody with an older one was there first.
func TestNewLogThatAnOlderReceiverComesToFirst(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	r.mustBeOf("a", file(t, 1))
	newer := file(t, 2, time.Now().Add(-time.Hour))
	r.mustBeOf("a", newer).mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "x")))
	require.Equal(t, []segment.Placement{says("a", file(t, 1)), says("a", newer)}, r.placements())
	_, err := r.of("a", file(t, 3, time.Now().Add(-time.Minute)))
	misfit(t, err)
}

// TestTwoForwardersOfAGroup checks that each has what its own receivers said: a receiver with
// an older file goes on at the one that nobody with a newer one has come to.
func TestTwoForwardersOfAGroup(t *testing.T) {
	older, newer := file(t, 1), file(t, 2, time.Now().Add(time.Hour))
	x, y := start(t, testConfig(t.TempDir())), start(t, testConfig(t.TempDir()))
	atX, atY := x.mustBeOf("a", older), y.mustBeOf("a", older)
	x.mustBeOf("a", newer).mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "x")))
	_, err := atX.conn.Receive()
	misfit(t, err)
	atY.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "y")))
	require.Equal(t, []segment.Placement{says("a", older), says("a", newer)}, x.placements())
	require.Equal(t, []segment.Placement{says("a", older)}, y.placements())

	y.mustBeOf("a", newer)
	_, err = y.of("a", older)
	misfit(t, err)
	require.Equal(t, x.placements(), y.placements())
}

// TestPlacementOfALogThatFollowsAnother checks that a log which is begun because the one before
// may have lost its end has the placement of that.
func TestPlacementOfALogThatFollowsAnother(t *testing.T) {
	c := testConfig(t.TempDir())
	r := start(t, c)
	s := r.mustBeOf("a", file(t, 3))
	s.fill(0, 20)
	old := r.appender.current.ID()
	r.stop()
	cutBack(t, c.StoragePath, old, 500)

	r = start(t, c)
	require.NotEqual(t, old, r.appender.current.ID())
	require.Equal(t, says("a", file(t, 3)), r.appender.state.head.Placement())
	_, err := r.of("b", file(t, 3))
	misfit(t, err)
	r.mustBeOf("a", file(t, 3))
	require.Empty(t, r.placements(), "it is in the keyframe")
}

// TestPlacementOutlivesAState checks that the placement which receivers were told is in the log
// is there again when that was opened without it.
func TestPlacementOutlivesAState(t *testing.T) {
	c := testConfig(t.TempDir())
	f := &failing{}
	r := start(t, c, func(fw *Forwarder) {
		f.logStore = fw.appender.store
		fw.appender.store = f
		fw.appender.state.writer = &failingWriter{fw.appender.state.writer, f}
	})
	r.mustBeOf("a", file(t, 1)).mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "x")))
	f.opens.Store(true)
	f.appends.Store(true)
	newer := file(t, 2, time.Now().Add(time.Hour))
	_, err := r.of("a", newer)
	require.ErrorContains(t, err, errDisk.Error())
	eventually(t, "not ready", func() bool { return r.Ready() != nil })
	_, err = r.of("a", file(t, 3))
	require.ErrorContains(t, err, errBroken.Error(), "not while it cannot be written")
	f.appends.Store(false)
	f.opens.Store(false)
	eventually(t, "ready", func() bool { return r.Ready() == nil })
	r.mustBeOf("a", newer).mustStore(v1, bodyOf(t, v1, one(1, 6, "__name__", "x")))
	require.Equal(t, []segment.Placement{says("a", file(t, 1)), says("a", newer)}, r.placements())
	_, err = r.of("a", file(t, 1))
	misfit(t, err)
}

// TestServersGetThePlacement checks that it comes to a server with the log.
func TestServersGetThePlacement(t *testing.T) {
	server := serveReplica(t, filepath.Join(t.TempDir(), "server"), "127.0.0.1:0")
	c := testConfig(t.TempDir())
	c.Server = server.addr
	r := start(t, c)
	r.mustBeOf("a", file(t, 3)).mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "x")))
	l, _ := r.appender.log()
	id := l.ID()
	eventually(t, "server has all", func() bool { return server.at(id) == 2 })
	r.stop()
	server.stop()
	sameFiles(t, filepath.Join(c.StoragePath, id.String()), filepath.Join(server.dir, id.String()))
}
