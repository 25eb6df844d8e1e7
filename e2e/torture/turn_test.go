package torture

import (
	"path/filepath"
	"testing"
	"time"
)

// TestEachMachineIsLostInTurn shows that the loss of any one machine with its disk loses
// nothing that was answered: each forwarder and each server, in the middle of the work,
// one after the other.
func TestEachMachineIsLostInTurn(t *testing.T) {
	r := newRig(t, redundant(options{servers: 2, sync: "always"}), filepath.Join(*evidence, t.Name()))
	c := newClients(r, 3)
	s := startSenders(r, 1)
	r.senders = s
	for _, u := range append(r.forwarders[:2:2], r.servers...) {
		time.Sleep(2 * time.Second)
		var start func()
		r.until(time.Now().Add(drainTime), "redundancy", func() (ok bool) {
			start, ok = r.lose(u)
			return ok
		})
		if start == nil {
			t.Fatalf("%s cannot be lost: what there was is not at every server", u.Name)
		}
		time.Sleep(2 * time.Second)
		start()
	}
	time.Sleep(2 * time.Second)
	want := r.drain(s, c)
	res := result{}
	r.verify(want, c, &res)
	if r.losses != 4 || want.len() == 0 {
		t.Errorf("%d machines were lost, %d entries acknowledged", r.losses, want.len())
	}
}
