package logship

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writing is a log that a test writes.
type writing struct {
	*seglog.Writer
	t    *testing.T
	dir  string
	head *head.Head
}

func newWriting(t *testing.T, o seglog.Options) *writing {
	o.Sync = seglog.SyncNever
	w := &writing{t: t, dir: t.TempDir(), head: head.New()}
	store, err := seglog.OpenStore(w.dir, o)
	require.NoError(t, err)
	w.Writer, err = store.OpenWriter(w.head)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.Close())
		require.NoError(t, store.Close())
	})
	return w
}

// write appends blocks of a series each, and rotates after them.
func (w *writing) write(blocks int) {
	for range blocks {
		b := &segment.Block{Series: segment.TableOf(segment.Series{
			Ref: w.head.NextRef(), Labels: segment.Labels{{Name: "__name__", Value: fmt.Sprint("n", w.head.NextRef())}},
		})}
		b.Samples.Add(segment.Sample{Ref: w.head.NextRef(), Timestamp: 1, Value: 2})
		sequence, err := w.Append(b)
		require.NoError(w.t, err)
		b.Sequence = sequence
		require.NoError(w.t, w.head.ApplyBlock(b))
		require.NoError(w.t, w.WaitDurable(sequence))
	}
	require.NoError(w.t, w.Rotate())
}

// mirror is a sink that keeps what comes.
type mirror struct {
	*seglog.Mirror
	dir  string
	gaps []seglog.GapError
}

func newMirror(t *testing.T, id segment.LogID) *mirror {
	m := &mirror{dir: t.TempDir()}
	store, err := seglog.OpenStore(m.dir, seglog.Options{})
	require.NoError(t, err)
	m.Mirror, err = store.OpenMirror(id, head.New())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.Close())
		require.NoError(t, store.Close())
	})
	return m
}

func (m *mirror) Gap(gap *seglog.GapError) error {
	m.gaps = append(m.gaps, seglog.GapError{After: gap.After, Next: gap.Next})
	return nil
}

func until(last uint64) Options {
	return Options{More: func(after uint64) bool { return after < last }}
}

// requireSameFiles compares what two folders have of a log, in whole segments.
func requireSameFiles(t *testing.T, l *seglog.Log, a, b string) {
	t.Helper()
	require.NotEmpty(t, l.Segments())
	for _, s := range l.Segments() {
		want, err := os.ReadFile(filepath.Join(a, l.ID().String(), s.Name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(b, l.ID().String(), s.Name))
		require.NoError(t, err)
		require.Equal(t, want[:s.Size], got)
	}
}

// What is shipped by a connection, in several goes, is the log's files.
func TestShippedByFrames(t *testing.T) {
	w := newWriting(t, seglog.Options{})
	to := newMirror(t, w.Log().ID())
	l, err := link.Listen("127.0.0.1:0", link.Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- l.Run(ctx, func(_ context.Context, c *link.Conn, _ *linkv1.Hello) error {
			if err := c.Welcome(&linkv1.Welcome{}); err != nil {
				return err
			}
			for {
				f, err := c.Receive()
				if err != nil {
					return err
				}
				if _, tail := f.GetKind().(*linkv1.Frame_Tail); tail {
					err = c.Send(f) // for the other side to know what has been delivered
				} else {
					err = Deliver(f, to)
				}
				if err != nil {
					return err
				}
			}
		})
	}()
	defer func() {
		cancel()
		require.NoError(t, <-ended)
	}()
	id := w.Log().ID()
	for range 3 {
		w.write(5)
		w.write(1)
		after, _, _ := to.Position()
		c, _, err := link.Dial(ctx, l.Addr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}, link.Options{})
		require.NoError(t, err)
		require.NoError(t, Send(ctx, w.Log(), after, Frames{c}, until(w.Log().Last())))
		require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Tail{Tail: &linkv1.Position{LogId: id[:]}}}))
		_, err = c.Receive()
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.Equal(t, w.Log().Last(), to.Log().Last())
		require.Empty(t, to.gaps)
	}
	requireSameFiles(t, to.Log(), w.dir, to.dir)
}

// Blocks that are not kept any more are told, and what follows them is shipped.
func TestGap(t *testing.T) {
	w := newWriting(t, seglog.Options{RetentionSize: 1})
	w.write(3)
	w.write(3)
	require.Greater(t, w.Log().First(), uint64(1))
	to := newMirror(t, w.Log().ID())
	w.write(2)
	first := w.Log().First()
	require.NoError(t, Send(t.Context(), w.Log(), 0, to, until(first-1)))
	require.Equal(t, []seglog.GapError{{After: 0, Next: first}}, to.gaps)
}

// At the end of the log shipping waits: for a block, or until it is to end.
func TestFollows(t *testing.T) {
	w := newWriting(t, seglog.Options{})
	w.write(1)
	to := newMirror(t, w.Log().ID())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Send(ctx, w.Log(), 0, to, Options{}) }()
	for i := range uint64(3) {
		require.Eventually(t, func() bool { return to.Log().Last() == i+1 }, time.Minute, time.Millisecond)
		w.write(1)
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// failing is a sink that takes so many pieces.
type failing struct{ left int }

var errFull = errors.New("full")

func (f *failing) take() error {
	if f.left--; f.left < 0 {
		return errFull
	}
	return nil
}

func (f *failing) StartSegment(string, uint64) error { return f.take() }
func (f *failing) Append(uint64, []byte) error       { return f.take() }
func (f *failing) Gap(*seglog.GapError) error        { return f.take() }

func TestSendFails(t *testing.T) {
	w := newWriting(t, seglog.Options{})
	w.write(1)
	w.write(1)
	for pieces := range 4 {
		require.ErrorIs(t, Send(t.Context(), w.Log(), 0, &failing{pieces}, until(2)), errFull, pieces)
	}
	require.ErrorIs(t, Send(t.Context(), w.Log(), 3, &failing{}, Options{}), seglog.ErrAhead)
	require.ErrorIs(t, Send(t.Context(), w.Log(), 0, &failing{}, Options{Reserve: func(int64) error { return errFull }}), errFull)
	require.NoError(t, Send(t.Context(), w.Log(), 0, &failing{}, until(0)))
	require.NoError(t, w.Close())
	require.ErrorIs(t, Send(t.Context(), w.Log(), 0, &failing{}, Options{}), seglog.ErrClosed)
}

func TestDeliverRefusesTheRest(t *testing.T) {
	for _, f := range []*linkv1.Frame{nil, {}, {Kind: &linkv1.Frame_Tail{}}, {Kind: &linkv1.Frame_Position{}}} {
		require.ErrorContains(t, Deliver(f, &failing{}), "a frame of the kind")
	}
}

func TestCompare(t *testing.T) {
	w := newWriting(t, seglog.Options{})
	w.write(2)
	w.write(1)
	for sequence := range w.Log().Last() + 1 {
		sum, kept, err := w.Log().Checksum(t.Context(), sequence)
		require.NoError(t, err)
		require.Equal(t, sequence > 0, kept)
		require.NoError(t, Compare(t.Context(), w.Log(), sequence, sum))
		err = Compare(t.Context(), w.Log(), sequence, sum+1)
		if sequence == 0 {
			require.NoError(t, err, "there is no such block")
			continue
		}
		var diverged *DivergedError
		require.ErrorAs(t, err, &diverged)
		require.Equal(t, w.Log().ID(), diverged.Log)
		require.ErrorContains(t, err, fmt.Sprintf("block %d of log %s", sequence, w.Log().ID()))
	}
	require.ErrorContains(t, Compare(t.Context(), w.Log(), 4, 0), "ends at block 3")

	w = newWriting(t, seglog.Options{RetentionSize: 1})
	w.write(2)
	w.write(2)
	require.Greater(t, w.Log().First(), uint64(2))
	require.NoError(t, Compare(t.Context(), w.Log(), 1, 12345), "not kept any more")
}
