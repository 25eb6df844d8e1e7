//go:build debian || compose

package e2e

import "testing"

// TestCurlOverTLS calls the same port with nothing but HTTP.
func TestCurlOverTLS(t *testing.T) {
	t.Parallel()
	f := startFortress(t)
	f.awaitSelf(t)
	for _, version := range []string{"--http1.1", "--http2"} {
		t.Run(version, func(t *testing.T) {
			f.try(t, `"up"`, func(a attempt) []string {
				return []string{"curl", "-sS", "--fail-with-body", version, "--cacert", f.file(a.ca + ".pem"), "--cert", f.file(a.cert + ".pem"),
					"--key", f.file(a.cert + "-key.pem"), "-H", a.header, "-H", "Content-Type: application/json",
					"-d", `{"name":"__name__"}`, "https://" + f.rpc + "/" + service + "/GetLabelValues"}
			})
		})
	}
}
