package throttle

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)), 10*time.Second)
		for range Burst + 4 {
			l.Log(slog.LevelWarn, "first", "key", "value")
		}
		l.Log(slog.LevelWarn, "second")
		l.Log(slog.LevelDebug, "not enabled")
		require.Equal(t, Burst+1, strings.Count(out.String(), "\n"))
		require.NotContains(t, out.String(), "suppressed")

		out.Reset()
		time.Sleep(10 * time.Second)
		l.Log(slog.LevelWarn, "first", "key", "value")
		l.Log(slog.LevelWarn, "first", "key", "value")
		require.Contains(t, out.String(), "msg=first key=value suppressed=4\n")
		require.Equal(t, 1, strings.Count(out.String(), "suppressed"), "those that were left out are told of once")

		out.Reset()
		fmt.Fprintln(l.Writer(slog.LevelError, "third"), "boom")
		require.Contains(t, out.String(), "level=ERROR msg=third err=boom\n")
	})
}
