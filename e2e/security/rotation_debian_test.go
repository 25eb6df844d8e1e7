//go:build debian

package security

import (
	"bytes"
	"encoding/pem"
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestRotationBehindHAProxy is TestRotation through HAProxy, which reads certificates when
// it is reloaded: its streams then have half a minute until their clients have to resume.
func TestRotationBehindHAProxy(t *testing.T) {
	s := harness.NewSecured(t)
	r := newRotation(t, s)
	local := harness.NewLocal(t, harness.Options{Secured: s})
	r.Cluster, r.front = local.Cluster, local.HAProxy().RPC
	r.start()
	reload := func() {
		before := r.begun()
		local.Reload()
		want, _ := pem.Decode(r.read(r.File("haproxy", "haproxy-bundle.pem")))
		harness.Eventually(t, "the new certificate of HAProxy", func() bool { return bytes.Equal(shown(r.front), want.Bytes) })
		harness.Eventually(t, "all streams to leave the worker of before", func() bool { return r.begun()-before >= len(r.followers) })
		local.HAProxy().Await(t, len(r.Servers))
	}

	r.step("certificates", 0, func() { r.certificates(r.authority()) })
	r.trustNext()
	r.step("HAProxy is reloaded", anyNumber, reload)
	r.step("certificates of the second authority", 0, func() { r.certificates(r.next) })
	r.step("HAProxy is reloaded again", anyNumber, reload)
	r.rotateSecrets()
	r.compare()
}
