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

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// Control sequences. The table uses the alternate screen, so that the terminal
// looks afterwards as it did before.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// redraw is how often the live table is drawn.
const redraw = 250 * time.Millisecond

// LiveTable shows the latest sample of each series on a terminal, updated in place.
// It is an Output, and an io.Writer for messages, of which it shows the last.
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

// NewLiveTable occupies the screen of the terminal w until Stop.
func NewLiveTable(w io.Writer, size func() (int, int, error), colour bool) *LiveTable {
	l := &LiveTable{w: w, size: size, colour: colour, now: time.Now, table: newTable(true), state: "connecting", stopped: make(chan struct{})}
	l.write([]byte(enterScreen))
	l.drawing.Go(l.run)
	return l
}

// run draws on a tick, since ages change without samples too, and leaves the
// screen while the program is suspended.
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

// Stop leaves the screen as it was before.
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

// Write keeps a message to be shown on the last line.
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

func (l *LiveTable) Event(r *metricsv1.GetMetricsResponse, _ bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.GetSynced() != nil {
		l.state, l.message = "live", ""
	}
	return l.err
}

func (l *LiveTable) Flush() error { return nil }

func (l *LiveTable) Close() error { return nil }

// draw returns the bytes that show the table on the screen. The caller holds mu.
func (l *LiveTable) draw() []byte {
	width, height, err := l.size()
	if err != nil || width < 20 || height < 4 {
		width, height = 80, 24
	}
	rows := l.table.sorted()
	room := height - 2 // between the heading and the last line
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
	// The last line has no line break, which would scroll.
	fmt.Fprintf(&b, "\x1b[%d;1H%s%s", height, cut(status, width), clearLine)
	return b.Bytes()
}

// cut escapes a text for the terminal and shortens it to a width.
func cut(s string, width int) string {
	s = visible(s)
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// pad cuts or fills a text to exactly this width.
func pad(s string, width int) string {
	s = cut(s, width)
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}
