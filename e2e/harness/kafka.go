//go:build debian

package harness

import (
	"os/exec"
	"regexp"
	"testing"
)

var mockBroker = regexp.MustCompile(`Mock cluster \S+ bootstrap\.servers=(\S+)`)

// StartKafka starts the mock broker of librdkafka inside a kcat, and returns
// its address. Topics are made when they are first written to.
func StartKafka(t testing.TB) string {
	t.Helper()
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		t.Fatalf("kcat is needed: run `make tools-debian` (%v)", err)
	}
	p := Start(t, "kafka", kcat, "-C", "-q", "-d", "mock", "-b", "mock", "-t", "unused",
		"-X", "test.mock.num.brokers=1", "-X", "allow.auto.create.topics=true")
	var address string
	p.eventually("its address", func() bool {
		match := mockBroker.FindSubmatch(p.stderr.Bytes())
		if match != nil {
			address = string(match[1])
		}
		return match != nil
	})
	return address
}
