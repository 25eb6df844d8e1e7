// Command allocs compares the allocations of Go benchmarks, read from standard
// input, with those in a file, and fails if there are more. Unlike times, they
// are the same on every machine.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	update := flag.Bool("update", false, "write the file rather than compare with it")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: go test -bench … -benchmem … | allocs [-update] FILE")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), os.Stdin, *update); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(file string, in io.Reader, update bool) error {
	measured, err := parse(in)
	if err != nil {
		return err
	}
	if update {
		return os.WriteFile(file, format(measured), 0o644)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	known, err := read(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return compare(measured, known)
}

// parse returns the allocations by benchmark. Output of which a part failed is
// an error, lest a benchmark that is gone passes.
func parse(in io.Reader) (map[string]int64, error) {
	allocs := map[string]int64{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "--- FAIL") {
			return nil, errors.New("the benchmarks failed: " + line)
		}
		fields := strings.Fields(line)
		if !strings.HasPrefix(line, "Benchmark") || len(fields) < 2 || fields[len(fields)-1] != "allocs/op" {
			continue
		}
		n, err := strconv.ParseInt(fields[len(fields)-2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		name := fields[0]
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of threads
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i]
			}
		}
		allocs[name] = n
	}
	if len(allocs) == 0 {
		return nil, errors.New("no benchmark with allocations in the input")
	}
	return allocs, nil
}

// read reads what format writes.
func read(text string) (map[string]int64, error) {
	known := map[string]int64{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		count, name, _ := strings.Cut(line, " ")
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q: want a number and a name", line)
		}
		known[strings.TrimSpace(name)] = n
	}
	return known, nil
}

func format(allocs map[string]int64) []byte {
	text := "# Allocations of one operation; `make check-allocs` fails if there are more. Written by `make update-allocs`.\n"
	for _, name := range slices.Sorted(maps.Keys(allocs)) {
		text += fmt.Sprintf("%d %s\n", allocs[name], name)
	}
	return []byte(text)
}

// allowed is how many there may be where the file says n: what runs in the
// background allocates a little more or less each time.
func allowed(n int64) int64 { return n + n/5 + 3 }

func compare(measured, known map[string]int64) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(known)) {
		n, ok := measured[name]
		switch want := known[name]; {
		case !ok:
			errs = append(errs, fmt.Errorf("%s was not run", name))
		case n > allowed(want):
			errs = append(errs, fmt.Errorf("%s: %d allocations, were %d", name, n, want))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		if _, ok := known[name]; !ok {
			errs = append(errs, fmt.Errorf("%s is new: run make update-allocs", name))
		}
	}
	return errors.Join(errs...)
}
