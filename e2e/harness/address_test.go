package harness

import (
	"net"
	"testing"
)

// TestAddress has somebody listen at a port on all addresses of the machine: it
// is not free. One that was given is not, either, but for its owner.
func TestAddress(t *testing.T) {
	wildcard, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = wildcard.Close() }()
	_, taken, err := net.SplitHostPort(wildcard.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	host := Host()
	if reserve(t, net.JoinHostPort(host, taken)) {
		t.Errorf("port %s of %s is taken, and was given", taken, host)
	}

	address := Address(t, host)
	for range 3 { // as its owner is restarted
		owner, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if reserve(t, address) {
			t.Errorf("%s was given twice", address)
		}
		_ = owner.Close()
	}
}
