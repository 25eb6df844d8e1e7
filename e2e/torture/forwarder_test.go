package torture

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestForwarderLosesItsDisk shows what becomes of a log whose forwarder is
// gone: the servers keep what they have, which is everything if they had caught
// up, a request that was stored there and repeated into the new log comes once,
// and clients go on.
func TestForwarderLosesItsDisk(t *testing.T) {
	r := newRig(t, options{forwarders: 1, servers: 2, sync: "always"}, filepath.Join(*evidence, t.Name()))
	r.renewed = true
	c := newClients(r, 2)
	s := startSenders(r, 1)
	time.Sleep(3 * time.Second)

	// Senders are left without an answer, and the servers take over the rest.
	receiver, forwarder := r.receivers[0], r.forwarders[0]
	r.kill(receiver)
	patience := time.Now().Add(drainTime)
	r.until(patience, "files", r.sameSizes)
	r.kill(forwarder)
	if !r.sameSizes() {
		t.Fatal("the servers are behind")
	}
	if err := os.RemoveAll(filepath.Join(forwarder.store, "log")); err != nil {
		t.Fatal(err)
	}
	before := s.history().len()
	forwarder.revive()
	receiver.revive()
	time.Sleep(3 * time.Second)

	want := r.drain(s, c)
	res := result{}
	r.verify(want, c, &res)
	if want.len() == before || before == 0 {
		t.Errorf("%d entries were acknowledged before, %d in all", before, want.len())
	}
}

// TestClockSetBackWhileIdle shows that a connection without traffic is kept when
// the clocks of its ends are set back.
func TestClockSetBackWhileIdle(t *testing.T) {
	r := newRig(t, options{forwarders: 1, servers: 2, sync: "always"}, filepath.Join(*evidence, t.Name()))
	time.Sleep(time.Second)
	// Either end would do to keep a connection alive.
	for _, u := range r.units {
		u.clock.set(-3600)
	}
	time.Sleep(silence + 5*time.Second)
	for _, u := range r.units {
		for line := range strings.Lines(u.Stderr().String()) {
			if strings.Contains(line, "lost") {
				t.Errorf("%s: %s", u.Name, line)
			}
		}
	}
	for _, u := range r.units {
		u.Signal(syscall.SIGTERM)
		if code := u.Wait(30 * time.Second); code != 0 {
			t.Errorf("%s: exit code %d", u.Name, code)
		}
	}
}

// silence is for how long a peer may say nothing.
const silence = 15 * time.Second
