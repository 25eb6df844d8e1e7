package output

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
)

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain ä€𝄞 \U0001f600": "plain ä€𝄞 \U0001f600", "\x1b[2J": `\u001b[2J`, "\x07\x00\x7f": `\u0007\u0000\u007f`,
		"a\r\n\tb": `a\r\n\tb`, "\u0080\u009f\u0085": `\u0080\u009f\u0085`, "\x9b\xff": `\x9b\xff`, "\uFFFD": "\uFFFD",
		"\u202a\u202e\u2066\u2069\u200e\u200f\u061c": `\u202a\u202e\u2066\u2069\u200e\u200f\u061c`,
		"\u200b\u200d\ufeff\u00ad\u2028":             `\u200b\u200d\ufeff\u00ad\u2028`, "\U000e0001": `\udb40\udc01`,
		bold + "x" + plain: `\xf8x\xfa`,
	} {
		require.Equal(t, want, visible(in))
	}
}

// TestVisibleWriterInPieces cuts a text at each byte.
func TestVisibleWriterInPieces(t *testing.T) {
	text := bold + metricstest.Evil + plain + "ä€𝄞\n\t\xe2\x82\xff" + metricstest.Evil + "\xe2\x82"
	want := styles[bold] + visible(metricstest.Evil) + styles[plain] + "ä€𝄞\n\t" + `\xe2\x82\xff` + visible(metricstest.Evil) + `\xe2\x82`
	for i := range len(text) + 1 {
		var b bytes.Buffer
		v := NewVisibleWriter(&b, true)
		for _, piece := range []string{text[:i], text[i:]} {
			n, err := v.Write([]byte(piece))
			require.NoError(t, err)
			require.Equal(t, len(piece), n)
		}
		require.NoError(t, v.Finish())
		require.Equal(t, want, b.String())
	}
	_, err := NewVisibleWriter(hungUp{}, false).Write([]byte("x"))
	require.ErrorIs(t, err, syscall.EPIPE)
}

type hungUp struct{}

func (hungUp) Write([]byte) (int, error) { return 0, errors.Join(syscall.EIO) }

func FuzzVisible(f *testing.F) {
	f.Add([]byte(metricstest.Evil), 3)
	f.Add([]byte(bold+"\xe2\x82"), 2)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var out bytes.Buffer
		v := NewVisibleWriter(&out, false)
		cut = min(max(cut, 0), len(b))
		_, _ = v.Write(b[:cut])
		_, _ = v.Write(b[cut:])
		require.NoError(t, v.Finish())
		metricstest.RequireCalm(t, out.String(), "out")
	})
}
