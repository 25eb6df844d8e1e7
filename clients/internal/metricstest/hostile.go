package metricstest

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Evil changes the title of a terminal, rings, clears the screen in two ways, and
// turns the direction of reading.
const Evil = "x\x1b]0;title\x07\r\u009b2J\x7f\u202e\u2066\u200e\u061c\u200b\ufeff\u2028\U000e0041\b"

// RequireCalm fails if a text has characters that control a terminal, other than
// line breaks and tabs.
func RequireCalm(t *testing.T, text, about string) {
	t.Helper()
	require.True(t, utf8.ValidString(text), "%s: %q", about, text)
	text = strings.NewReplacer("\n", "", "\t", "").Replace(text)
	controls := func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }
	require.False(t, strings.ContainsFunc(text, controls), "%s: %q", about, text)
}
