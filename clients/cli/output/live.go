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

// Control sequences. What is live uses the alternate screen, so that the terminal
// looks afterwards as it did before.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// redraw is how often the screen is drawn.
const redraw = 250 * time.Millisecond

// view is what a Live screen shows.
type view interface {
	add([]*metricsv1.TimeSeries)
	event(Event)
	// draw returns at most height lines of at most width characters, with styles as
	// marks, and a few words on what they show.
	draw(width, height int, now time.Time) (lines []string, status string)
}

// Live shows a view on a terminal, updated in place. It is an Output, and an io.Writer
// for messages, of which it shows the last.
type Live struct {
	omissions
	w      io.Writer
	size   func() (width, height int, err error)
	colour bool
	now    func() time.Time

	mu      sync.Mutex
	view    view
	state   string
	message string
	err     error
	stopped chan struct{}
	drawing sync.WaitGroup
}

// NewLiveTable shows the latest sample of each series on the terminal w, until Stop, and
// how its value changes: in a second, or since the sample before.
func NewLiveTable(w io.Writer, size func() (int, int, error), colour, perSecond bool) *Live {
	t := newTable(true)
	t.difference = !perSecond
	return newLive(w, size, colour, &t)
}

// newLive occupies the screen of the terminal w until Stop.
func newLive(w io.Writer, size func() (int, int, error), colour bool, v view) *Live {
	l := &Live{w: w, size: size, colour: colour, now: time.Now, view: v, state: "connecting", stopped: make(chan struct{})}
	l.write([]byte(enterScreen))
	l.drawing.Go(l.run)
	return l
}

// run draws on a tick, since ages change without samples too, and leaves the
// screen while the program is suspended.
func (l *Live) run() {
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
func (l *Live) Stop() {
	close(l.stopped)
	l.drawing.Wait()
	l.write([]byte(leaveScreen))
}

func (l *Live) write(b []byte) {
	if _, err := l.w.Write(b); err != nil && l.err == nil {
		l.err = err
	}
}

// Write keeps a message to be shown on the last line.
func (l *Live) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.message = string(bytes.TrimSpace(b))
	return len(b), nil
}

func (l *Live) Series(all []*metricsv1.TimeSeries) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view.add(all)
	return l.err
}

func (l *Live) Event(e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Kind == Synced {
		l.state, l.message = "live", ""
	}
	l.view.event(e)
	return l.err
}

func (l *Live) Flush() error { return nil }

func (l *Live) Close() error { return nil }

// draw returns the bytes that show the view on the screen. The caller holds mu.
func (l *Live) draw() []byte {
	width, height := terminalSize(l.size)
	lines, status := l.view.draw(width, height-1, l.now())
	var b bytes.Buffer
	b.WriteString(home)
	for _, line := range lines {
		b.WriteString(styled(line, l.colour) + clearLine + "\r\n")
	}
	b.WriteString(clearBelow)
	status = l.state + ", " + status
	if l.message != "" {
		status += "; " + strings.ReplaceAll(l.message, "\n", " ")
	}
	// The last line has no line break, which would scroll.
	fmt.Fprintf(&b, "\x1b[%d;1H%s%s", height, cut(status, width), clearLine)
	return b.Bytes()
}

// terminalSize returns the size that something is drawn in.
func terminalSize(size func() (width, height int, err error)) (width, height int) {
	if size != nil {
		if width, height, err := size(); err == nil && width >= 20 && height >= 4 {
			return width, height
		}
	}
	return 80, 24
}

// styled replaces the marks of styles by what a terminal understands, or by nothing.
func styled(line string, colour bool) string {
	var b strings.Builder
	for i := range len(line) {
		switch style := styles[line[i:i+1]]; {
		case style == "":
			b.WriteByte(line[i])
		case colour:
			b.WriteString(style)
		}
	}
	return b.String()
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
