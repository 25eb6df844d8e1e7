package refusal

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPointAt(t *testing.T) {
	for _, tt := range []struct {
		text        string
		position    int
		line, caret string
	}{
		{"up{", 3, "up{", "   ^"},
		{"up\n\t{a?}\n", 5, " {a?}", "  ^"},
		{"ü?", 2, "ü?", " ^"},
		{"", 99, "", "^"},
		{"\xff?", -1, "�?", "^"},
		{strings.Repeat("ü", 1000) + "?" + strings.Repeat("a", maxAround-1), 2000, "…" + strings.Repeat("ü", maxAround) + "?" + strings.Repeat("a", maxAround-1), strings.Repeat(" ", maxAround+1) + "^"},
		{"?" + strings.Repeat("ü", 1000), 0, "?" + strings.Repeat("ü", maxAround-1) + "…", "^"},
		{"up\n" + strings.Repeat("x", maxAround), 3 + maxAround, strings.Repeat("x", maxAround), strings.Repeat(" ", maxAround) + "^"},
	} {
		line, caret := pointAt(tt.text, tt.position)
		require.Equal(t, tt.line, line)
		require.Equal(t, tt.caret, caret)
	}
}
