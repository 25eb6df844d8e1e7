// Command gotest runs go test with the arguments that it is given, and shows what
// goes on: a line for each package, one for each test that takes its time, all of
// the output of those that fail, and what still runs when there was nothing to say
// for a while. A test that is skipped counts as failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// quiet is how long nothing may be printed.
const quiet = 30 * time.Second

func main() {
	// The terminal sends them to go test as well, which ends what it runs.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ok, err := run(os.Stdout, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// run says whether all tests passed.
func run(w io.Writer, args []string) (ok bool, err error) {
	first := 0
	if len(args) > 0 && strings.HasPrefix(args[0], "-C=") {
		first = 1 // which go wants before all others
	}
	cmd := exec.Command("go", slices.Concat([]string{"test"}, args[:first], []string{"-json"}, args[first:])...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	events := make(chan event)
	go func() {
		defer close(events)
		decode(out, events)
	}()
	r := newReport(w, time.Now())
	r.follow(events, time.NewTicker(quiet/3).C)
	if err := cmd.Wait(); err != nil && len(r.failed) == 0 {
		return false, fmt.Errorf("go test: %w", err)
	}
	r.sum(time.Now())
	return len(r.failed) == 0, nil
}

// event is what go test -json prints, see `go doc test2json`.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// decode reads events to the end. A line that is none is output.
func decode(in io.Reader, events chan<- event) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				e = event{Action: "build-output", Output: string(line)}
			}
			events <- e
		}
		if err != nil {
			return
		}
	}
}
