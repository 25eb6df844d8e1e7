package output

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// PrintJSON prints one object a row.
func PrintJSON[Row any](w io.Writer, rows []Row) error {
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			return err
		}
	}
	return b.Flush()
}

// PrintRows prints one line a row, in columns if there is a heading. On a terminal
// columns are aligned by what is visible.
func PrintRows[Row any](w io.Writer, terminal bool, heading string, rows []Row, cells func(Row) []string) error {
	b := bufio.NewWriter(w)
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	if heading != "" && len(rows) > 0 {
		_, _ = fmt.Fprintln(t, heading) // Flush returns the error
	}
	for _, r := range rows {
		line := cells(r)
		for i, text := range line {
			line[i] = string(appendEscaped(nil, text, false))
		}
		if heading == "" {
			_, _ = fmt.Fprintln(b, line[0])
			continue
		}
		for i, text := range line {
			line[i] = Cell(text, terminal)
		}
		_, _ = fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return b.Flush()
}

// separators escapes what would end a cell or a line of a tabwriter.
var separators = strings.NewReplacer("\t", `\t`, "\n", `\n`, "\v", `\v`, "\f", `\f`)

// Cell returns a text that stays in its column. On a terminal it is escaped first,
// so that alignment counts what is visible.
func Cell(text string, terminal bool) string {
	if terminal {
		text = visible(text)
	}
	return separators.Replace(text)
}
