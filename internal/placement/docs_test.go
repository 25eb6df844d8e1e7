package placement

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The example of the document is a groups file.
func TestExampleOfTheDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/groups.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(document), "```yaml\n")
	require.True(t, found)
	example, _, found := strings.Cut(rest, "```\n")
	require.True(t, found)
	f, err := ParseFile([]byte(example))
	require.NoError(t, err)
	assert.Len(t, f.Groups, 3)
	assert.Equal(t, []string{"a", "b", "c"}, f.Placement.Last())
}
