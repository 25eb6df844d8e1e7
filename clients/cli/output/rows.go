package output

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// PrintJSON prints an object a row.
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

// PrintRows prints a line a row, in columns if they have a head. For a terminal
// the columns are aligned as they are shown.
func PrintRows[Row any](w io.Writer, terminal bool, head string, rows []Row, cells func(Row) []string) error {
	b := bufio.NewWriter(w)
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	if head != "" && len(rows) > 0 {
		_, _ = fmt.Fprintln(t, head) // errors show at Flush
	}
	for _, r := range rows {
		line := cells(r)
		for i, text := range line {
			line[i] = string(appendEscaped(nil, text, false))
		}
		if head == "" {
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

// separators are what ends a cell or a line of a tabwriter.
var separators = strings.NewReplacer("\t", `\t`, "\n", `\n`, "\v", `\v`, "\f", `\f`)

// Cell is a text that stays in its column. On a terminal it is aligned as it is
// shown.
func Cell(text string, terminal bool) string {
	if terminal {
		text = visible(text)
	}
	return separators.Replace(text)
}
