//go:build debian

package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// readersAccess lets each of two teams read the series of its job.
const readersAccess = `
cursor_key_files: [cursor.key]
policies:
- {name: one, token_files: [one], read: {selectors: ['{job="one"}']}}
- {name: two, token_files: [two], read: {selectors: ['{job="two"}']}}
`

// TestPolicies has clients of two teams follow through HAProxy, over every protocol, while
// the server that they are at is killed, and then the other one. Each gets all that is its
// team's, once, and nothing else; one without a token gets nothing.
func TestPolicies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"access.yml": readersAccess, "one": "secret-of-one", "two": "secret-of-two",
		"cursor.key": base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target := harness.NewLocal(t, harness.Options{Server: []string{"--access.file=" + filepath.Join(dir, "access.yml")}})
	senders, followers := map[string]*harness.Sender{}, map[string]*harness.Follower{}
	for _, team := range []string{"one", "two"} {
		senders[team] = harness.NewSender(t, target.WriteURL(), team, 20)
		for _, protocol := range protocols {
			followers[team+" over "+protocol] = harness.Follow(t, target.HAProxy().RPC, protocol, "--since=1h", "--bearer-token-file="+filepath.Join(dir, team))
		}
		senders[team].Start(50 * time.Millisecond)
	}
	sender := func(follower string) *harness.Sender { return senders[strings.Fields(follower)[0]] }
	await := func(what string) {
		t.Helper()
		for name, f := range followers {
			want := sender(name).Acknowledged()
			harness.Eventually(t, what+" at "+name, func() bool { return f.Points().Missing(want) == 0 })
		}
	}
	time.Sleep(time.Second)
	await("all")
	for i := range target.Servers {
		part := harness.ServerPart(i + 1)
		target.Kill(part)
		time.Sleep(time.Second)
		await("all without " + part)
		target.Start(part)
		target.HAProxy().Await(t, len(target.Servers))
	}
	for _, s := range senders {
		s.Stop()
	}
	await("all sent")
	for name, f := range followers {
		harness.Equal(t, name, sender(name).Acknowledged(), f.Points())
	}
	for _, protocol := range protocols {
		code, _, stderr := harness.Client(t, "get", "--address="+target.HAProxy().RPC, "--protocol="+protocol)
		if code == 0 || !strings.Contains(string(stderr), "bearer token") {
			t.Errorf("%s: without a token it ended with the code %d: %s", protocol, code, stderr)
		}
	}
}
