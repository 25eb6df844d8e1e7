package output

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// What the terminal is told. The table has a screen of its own, so that what was
// there before is there again afterwards.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// redraw is how often the live table is drawn.
const redraw = 250 * time.Millisecond

// LiveTable shows the latest sample of each series in place on a terminal. It is
// an Output, and takes messages, of which the last is shown.
type LiveTable struct {
	omissions
	w      io.Writer
	size   func() (width, height int, err error)
	colour bool
	now    func() time.Time

	mu      sync.Mutex
	table   table
	state   string
	message string
	err     error
	stopped chan struct{}
	drawing sync.WaitGroup
}

// NewLiveTable takes the screen of the terminal w, of that size, until Stop.
func NewLiveTable(w io.Writer, size func() (int, int, error), colour bool) *LiveTable {
	l := &LiveTable{w: w, size: size, colour: colour, now: time.Now, table: newRows(true), state: "connecting", stopped: make(chan struct{})}
	l.write([]byte(enterScreen))
	l.drawing.Go(l.run)
	return l
}

// run draws, since ages change without samples too, and leaves the screen while
// the program is stopped.
func (l *LiveTable) run() {
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTSTP)
	defer signal.Stop(stop)
	for {
		l.mu.Lock()
		l.write(l.draw())
		l.mu.Unlock()
		select {
		case <-tick.C:
		case <-stop:
			l.mu.Lock()
			suspend(func() { l.write([]byte(leaveScreen)) }, func() { l.write([]byte(enterScreen)) })
			l.mu.Unlock()
		case <-l.stopped:
			return
		}
	}
}

// Stop gives the terminal back as it was.
func (l *LiveTable) Stop() {
	close(l.stopped)
	l.drawing.Wait()
	l.write([]byte(leaveScreen))
}

func (l *LiveTable) write(b []byte) {
	if _, err := l.w.Write(b); err != nil && l.err == nil {
		l.err = err
	}
}

// Write takes over messages for people.
func (l *LiveTable) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.message = string(bytes.TrimSpace(b))
	return len(b), nil
}

func (l *LiveTable) Series(all []*metricsv1.TimeSeries) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range all {
		l.table.add(s)
	}
	return l.err
}

func (l *LiveTable) Event(u promgrpc.Update) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u.GetSynced() != nil {
		l.state, l.message = "live", ""
	}
	return l.err
}

func (l *LiveTable) Flush() error { return nil }

func (l *LiveTable) Close() error { return nil }

// draw returns what makes the screen show the table. The caller holds mu.
func (l *LiveTable) draw() []byte {
	width, height, err := l.size()
	if err != nil || width < 20 || height < 4 {
		width, height = 80, 24
	}
	rows := l.table.sorted()
	room := height - 2 // below the head, above the last line
	shown := rows[:min(len(rows), room)]

	now := l.now()
	values, rates, ages := len("VALUE"), len("RATE"), len("AGE")
	for _, r := range shown {
		values, rates, ages = max(values, len(r.value)), max(rates, len(r.rateText())), max(ages, len(r.ageText(now)))
	}
	values = min(values, width/3)
	names := max(10, width-values-rates-ages-3*2)

	var b bytes.Buffer
	b.WriteString(home)
	line := func(style, name, value, rate, age string) {
		text := fmt.Sprintf("%s  %*s  %*s  %*s", pad(name, names), values, cut(value, values), rates, rate, ages, age)
		if l.colour && style != "" {
			text = styles[style] + text + styles[plain]
		}
		b.WriteString(text + clearLine + "\r\n")
	}
	line(bold, "SERIES", "VALUE", "RATE", "AGE")
	for _, r := range shown {
		style := ""
		if r.stale {
			style = faint
		}
		line(style, r.series, r.value, r.rateText(), r.ageText(now))
	}
	b.WriteString(clearBelow)
	status := fmt.Sprintf("%s, %d series, %d samples", l.state, len(rows), l.table.samples)
	if more := len(rows) - len(shown); more > 0 {
		status += fmt.Sprintf(", %d more than fit: narrow the selectors", more)
	}
	if l.message != "" {
		status += "; " + strings.ReplaceAll(l.message, "\n", " ")
	}
	// On the last line, without a line break, which would scroll.
	fmt.Fprintf(&b, "\x1b[%d;1H%s%s", height, cut(status, width), clearLine)
	return b.Bytes()
}

// cut shortens a text to a width, once it does nothing to the terminal.
func cut(s string, width int) string {
	s = visible(s)
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// pad makes a text exactly so wide.
func pad(s string, width int) string {
	s = cut(s, width)
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}
