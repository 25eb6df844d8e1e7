package security

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/e2e/harness"
)

// table of docs/security.md: what is the case, what comes, and what becomes of it where.
type table struct {
	places []string
	rows   []row
}

type row struct {
	asked, brought string
	outcomes       map[string]string // by place; none for a cell that is empty
}

// readTable returns the table that begins with two headings.
func readTable(t *testing.T, asked, brought string) table {
	t.Helper()
	text, err := os.ReadFile(harness.File("docs/security.md"))
	require.NoError(t, err)
	tab := parseTable(string(text), asked, brought)
	require.NotEmpty(t, tab.rows, "docs/security.md has no table of %q and %q", asked, brought)
	return tab
}

func parseTable(text, asked, brought string) (tab table) {
	for line := range strings.Lines(text) {
		cells := cellsOf(line)
		switch {
		case len(cells) > 2 && cells[0] == asked && cells[1] == brought:
			tab.places = cells[2:]
		case tab.places == nil, strings.HasPrefix(line, "|---"):
		case len(cells) == 0:
			return tab
		default:
			r := row{asked: cells[0], brought: cells[1], outcomes: map[string]string{}}
			for i, cell := range cells[2:] {
				if cell != "" {
					r.outcomes[tab.places[i]] = cell
				}
			}
			tab.rows = append(tab.rows, r)
		}
	}
	return tab
}

func cellsOf(line string) (cells []string) {
	line, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
	if !ok {
		return nil
	}
	for _, cell := range strings.Split(strings.TrimSuffix(line, "|"), "|") {
		cells = append(cells, strings.TrimSpace(cell))
	}
	return cells
}

func TestParseTable(t *testing.T) {
	tab := parseTable("| x | y | z |\n|---|---|---|\n| 1 | 2 | 3 |\n\n| a | b | c | d |\n|---|---|---|---|\n| 1 | 2 | yes | |\n\n| 4 | 5 | 6 | 7 |\n", "a", "b")
	assert.Equal(t, table{[]string{"c", "d"}, []row{{"1", "2", map[string]string{"c": "yes"}}}}, tab)
}

// covers fails the test unless the rows are the cases, each once, and the places those
// that are asked.
func (tab table) covers(t *testing.T, cases map[string][]string, places []string) {
	t.Helper()
	assert.Equal(t, places, tab.places, "the places of the table in docs/security.md")
	seen := map[string][]string{}
	for _, r := range tab.rows {
		assert.NotEmpty(t, r.outcomes, "%s, %s: no outcome", r.asked, r.brought)
		seen[r.asked] = append(seen[r.asked], r.brought)
	}
	for asked, brought := range cases {
		assert.ElementsMatch(t, brought, seen[asked], "%s: what is brought in the test, and in docs/security.md", asked)
		delete(seen, asked)
	}
	assert.Empty(t, seen, "rows of docs/security.md that the test has no case for")
	if t.Failed() {
		t.FailNow()
	}
}

// of returns the rows of one thing that is asked for.
func (tab table) of(asked string) []row {
	return slices.DeleteFunc(slices.Clone(tab.rows), func(r row) bool { return r.asked != asked })
}
