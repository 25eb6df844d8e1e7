package harness

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// ConsulToken is a token in a file, for parts that are to register and to find each
// other at a Consul that asks for one.
type ConsulToken struct {
	// File that has it.
	File string

	t        testing.TB
	consul   *Consul
	accessor string // of the token that counts
}

// StartGuardedConsul is StartConsul of one that asks for tokens. Who has none may do
// what policy says: "deny" or "allow"; nobody may with one that was taken back.
func StartGuardedConsul(t testing.TB, policy string) (*Consul, *ConsulToken) {
	t.Helper()
	all := uuid()
	c := startConsul(t, all, "-hcl=acl { enabled = true, default_policy = \""+policy+"\", tokens { initial_management = \""+all+"\", agent = \""+all+"\" } }")
	token := &ConsulToken{File: filepath.Join(t.TempDir(), "token"), t: t, consul: c}
	var answer struct{ ID string }
	Eventually(t, "a policy in Consul", func() bool {
		return c.do(http.MethodPut, "/v1/acl/policy", map[string]string{
			"Name": "parts", "Rules": `service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }`,
		}, &answer)
	})
	token.Rotate()
	return c, token
}

// Rotate makes a token, writes it to the file in place of the one before, and takes
// that back.
func (k *ConsulToken) Rotate() {
	k.t.Helper()
	before := k.accessor
	var made struct{ AccessorID, SecretID string }
	if !k.consul.do(http.MethodPut, "/v1/acl/token", map[string]any{"Policies": []map[string]string{{"Name": "parts"}}}, &made) {
		k.t.Fatal("Consul made no token")
	}
	k.accessor = made.AccessorID
	if err := os.WriteFile(k.File, []byte(made.SecretID+"\n"), 0o600); err != nil {
		k.t.Fatal(err)
	}
	var gone bool
	if before != "" && !k.consul.do(http.MethodDelete, "/v1/acl/token/"+before, nil, &gone) {
		k.t.Fatal("Consul did not take the token back")
	}
}

func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // It never fails.
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
