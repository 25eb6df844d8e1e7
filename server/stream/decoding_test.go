package stream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/call"
)

// decoderOf returns a stream of a peer that can decode and nothing else.
func decoderOf(s *Streams, ctx context.Context, peer string) *stream {
	st := &stream{streams: s, ctx: ctx, peer: peer, hold: s.Bytes.Hold(peer), heartbeat: time.Hour, lastSent: time.Now()}
	st.decoding = decoding{st: st, turn: s.Decodes.Hold(peer)}
	return st
}

// decodingStreams are those of a server with so many turns, of which a peer has half.
func decodingStreams(turns int64) *Streams {
	return New(DefaultConfig(), Shared{
		Calls: call.New(call.Bounds{}, call.Shared{
			Bytes: limit.NewBudget("--limit.stream-bytes", "bytes", call.IncludedBytes, call.IncludedBytes),
		}),
		Decodes: limit.NewBudget(FlagDecodes, "turns", turns, turns/2),
	})
}

// However much one peer has to decode, others get their turns, and streams of the same
// peer get theirs one after another.
func TestDecodingTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := decodingStreams(8)
		ctx, cancel := context.WithCancel(t.Context())
		frame := func(st *stream) error { time.Sleep(time.Millisecond); return st.decoding.step() }
		slots := int(s.Decodes.Share())
		many := 20 * slots
		begun, ended := make(chan error, many), make(chan error, many)
		for range many {
			st := decoderOf(s, ctx, "greedy")
			go func() {
				err := st.decoding.step()
				begun <- err
				for err == nil {
					err = frame(st)
				}
				st.decoding.release()
				ended <- err
			}()
		}
		synctest.Wait()
		since := time.Now()
		other := decoderOf(s, ctx, "other")
		for range 1000 {
			require.NoError(t, frame(other))
		}
		other.decoding.release()
		require.Equal(t, time.Second, time.Since(since), "another peer waits for nobody")

		since = time.Now()
		same := decoderOf(s, ctx, "greedy")
		require.NoError(t, same.decoding.step())
		same.decoding.release()
		require.LessOrEqual(t, time.Since(since), time.Duration(many/slots+1)*(decodingTurn+time.Millisecond))
		require.LessOrEqual(t, s.Decodes.Used(), s.Decodes.Share())

		cancel()
		for range many {
			require.NoError(t, <-begun)
			require.ErrorIs(t, <-ended, context.Canceled, "who is gone decodes nothing more")
		}
		require.Zero(t, s.Decodes.Used())
		require.Zero(t, s.Decodes.Waiting())
	})
}

// A stream gives up waiting for its turn.
func TestDecodingPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := decodingStreams(8)
		busy := s.Decodes.Hold("busy")
		require.NoError(t, busy.Grow(s.Decodes.Share()))
		since := time.Now()
		var over *limit.Error
		require.ErrorAs(t, decoderOf(s, t.Context(), "busy").decoding.step(), &over)
		require.Equal(t, turnPatience, time.Since(since))
		require.Equal(t, "decodes", over.Name)
		require.True(t, over.Passing)

		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		require.ErrorIs(t, decoderOf(s, ctx, "busy").decoding.step(), gone)
		busy.Release()
		require.Zero(t, s.Decodes.Used())
	})
}
