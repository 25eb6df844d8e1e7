package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// write writes each text once, under the names of all that it goes with.
func write(w io.Writer, linked map[string]*component) error {
	names := map[string][]string{} // by text
	var missing []string
	for _, c := range linked {
		if !c.licensed {
			missing = append(missing, c.name)
		}
		for _, text := range c.texts {
			names[text] = append(names[text], c.name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("no licence text in: %s", strings.Join(missing, ", "))
	}
	for _, of := range names {
		slices.Sort(of)
	}
	texts := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		if order := slices.Compare(names[a], names[b]); order != 0 {
			return order
		}
		return strings.Compare(a, b)
	})

	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "The programs are built with the software named below, under the licences that follow the names.")
	for _, text := range texts {
		fmt.Fprintf(out, "\n%s\n\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(names[text], "\n"), strings.TrimSpace(text))
	}
	return out.Flush()
}
