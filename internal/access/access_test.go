package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/identity"
)

const example = `
roles:
  receiver:  [spiffe://promgrpc/receiver]
  forwarder: [spiffe://promgrpc/forwarder, "*.forwarders.example.org"]
  proxy:     [spiffe://promgrpc/haproxy]
cursor_key_files: [cursor.key]
policies:
- name: team-a
  token_files: [a.token]
  users: [alice]
  certificates: [spiffe://promgrpc/team-a]
  read:
    selectors: ['{team="a"}', 'up{team=~"a|common"}']
    streams: 10
    memory: 64MiB
  write: {tenant: a}
- name: relay
  token_sha256: [%s]
  certificates: [spiffe://promgrpc/*]
  read: {logs: true, status: true}
- name: guests
  anonymous: true
  read: {selectors: ['up']}
- name: senders
  users: [prometheus]
  write: {}
`

// folder has an access file, and the files that it names.
func folder(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.token"), "token-of-a\n")
	write(t, filepath.Join(dir, "cursor.key"), base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, cursor.KeySize))+"\n")
	write(t, filepath.Join(dir, "access.yml"), text)
	return filepath.Join(dir, "access.yml")
}

func write(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func sumOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func exampleText() string { return fmt.Sprintf(example, sumOf("token-of-relay")) }

func prepared(p *Policy) (any, error) {
	if slices.Contains(p.Read.Selectors, "broken") {
		return nil, errors.New("selector 0 does not parse")
	}
	return "of " + p.Name, nil
}

func TestPolicy(t *testing.T) {
	f, err := OpenFor(folder(t, exampleText()), nil, prepared)
	require.NoError(t, err)
	assert.True(t, f.HasPolicies())
	assert.Equal(t, []cursor.Key{cursor.Key(bytes.Repeat([]byte{7}, cursor.KeySize))}, f.Keys())
	a := []string{"spiffe://promgrpc/team-a"}
	for _, c := range []struct {
		name            string
		id              identity.Identity
		policy          string
		unauthenticated bool
		reason          string
	}{
		{"token of a file", identity.Identity{Token: "token-of-a"}, "team-a", false, ""},
		{"token by its hash", identity.Identity{Token: "token-of-relay"}, "relay", false, ""},
		{"hash as a token", identity.Identity{Token: sumOf("token-of-relay")}, "", true, "unknown_token"},
		{"token before certificate", identity.Identity{Token: "token-of-relay", Names: a, User: "alice"}, "relay", false, ""},
		{"wrong token, right certificate", identity.Identity{Token: "x", Names: a, User: "alice"}, "", true, "unknown_token"},
		{"what nobody can prove", identity.Identity{Unproved: true}, "", true, "unknown_scheme"},
		{"what nobody can prove, right certificate", identity.Identity{Unproved: true, Names: a}, "", true, "unknown_scheme"},
		{"user", identity.Identity{User: "alice"}, "team-a", false, ""},
		{"user before certificate", identity.Identity{User: "prometheus", Names: a}, "senders", false, ""},
		{"user without a policy, right certificate", identity.Identity{User: "bob", Names: a}, "", false, "unknown_user"},
		{"certificate", identity.Identity{Names: a}, "team-a", false, ""},
		{"certificate by a pattern, though it is after the exact one", identity.Identity{Names: []string{"spiffe://promgrpc/server"}}, "relay", false, ""},
		{"certificate without a policy", identity.Identity{Names: []string{"example.org"}}, "", false, "unknown_certificate"},
		{"proxy is nobody", identity.Identity{Names: []string{"spiffe://promgrpc/haproxy"}}, "guests", false, ""},
		{"token through a proxy", identity.Identity{Names: []string{"spiffe://promgrpc/haproxy"}, Token: "token-of-a"}, "team-a", false, ""},
		{"nothing", identity.Identity{}, "guests", false, ""},
	} {
		p, err := f.Policy(c.id)
		if c.policy != "" {
			require.NoError(t, err, c.name)
			assert.Equal(t, c.policy, p.Name, c.name)
			continue
		}
		denied := new(Denied)
		require.ErrorAs(t, err, &denied, c.name)
		assert.Equal(t, c.unauthenticated, denied.Unauthenticated, c.name)
		assert.Equal(t, c.reason, denied.Reason, c.name)
		assert.NotContains(t, err.Error(), "team-a", c.name)
	}
}

// Certificates with the role of a server may read logs and status, whatever policy they
// would have; with a token or as a user they are what they show. Nobody else gets that, nor
// anybody where no servers are named.
func TestServersReadLogs(t *testing.T) {
	named := strings.Replace(exampleText(), "roles:\n", "roles:\n  server: [spiffe://promgrpc/server, spiffe://promgrpc/team-a]\n", 1)
	path := folder(t, named)
	f, err := OpenFor(path, nil, prepared)
	require.NoError(t, err)
	var servers *Policy
	for _, name := range []string{"spiffe://promgrpc/server", "spiffe://promgrpc/team-a"} {
		servers, err = f.Policy(identity.Identity{Names: []string{name}})
		require.NoError(t, err)
		assert.Equal(t, &Read{Logs: true, Status: true}, servers.Read)
		assert.Equal(t, "of role server", servers.Prepared)
		require.Error(t, servers.Check(ToWrite))
	}
	for policy, id := range map[string]identity.Identity{
		"team-a": {Names: []string{"spiffe://promgrpc/server"}, Token: "token-of-a"},
		"relay":  {Names: []string{"spiffe://promgrpc/another"}},
	} {
		p, err := f.Policy(id)
		require.NoError(t, err)
		assert.Equal(t, policy, p.Name)
	}
	_, err = f.Policy(identity.Identity{Names: []string{"spiffe://promgrpc/server"}, Token: "x"})
	require.Error(t, err)
	require.NoError(t, f.Reload())
	again, err := f.Policy(identity.Identity{Names: []string{"spiffe://promgrpc/server"}})
	require.NoError(t, err)
	assert.Same(t, servers, again)
}

func TestRights(t *testing.T) {
	f, err := OpenFor(folder(t, exampleText()), nil, prepared)
	require.NoError(t, err)
	for token, want := range map[string][]Right{
		"token-of-a":     {ToRead, ToWrite},
		"token-of-relay": {ToRead, ToReadLogs, ToReadStatus},
	} {
		p, err := f.Policy(identity.Identity{Token: token})
		require.NoError(t, err)
		for _, r := range []Right{ToRead, ToReadLogs, ToReadStatus, ToWrite} {
			err := p.Check(r)
			if assert.Equal(t, slices.Contains(want, r), err == nil, "%s %s", token, r); err != nil {
				require.ErrorContains(t, err, string(r))
				require.ErrorContains(t, err, p.Name)
			}
		}
	}
	p, err := f.Policy(identity.Identity{Token: "token-of-a"})
	require.NoError(t, err)
	assert.Equal(t, &Read{
		Selectors: []string{`{team="a"}`, `up{team=~"a|common"}`}, Streams: 10, Memory: 64 << 20,
	}, p.Read)
	assert.Equal(t, "a", p.Write.Tenant)
	assert.Equal(t, "of team-a", p.Prepared)
	assert.True(t, p.Restricted())
	p, err = f.Policy(identity.Identity{Token: "token-of-relay"})
	require.NoError(t, err)
	assert.False(t, p.Restricted())
}

func TestRoles(t *testing.T) {
	f, err := OpenFor(folder(t, exampleText()), nil, prepared)
	require.NoError(t, err)
	assert.True(t, f.HasRoles(Receiver))
	assert.False(t, f.HasRoles(Server))
	require.NoError(t, f.CheckRole(Server, nil), "nobody is named for it")
	require.NoError(t, f.CheckRole(Forwarder, []string{"spiffe://promgrpc/forwarder"}))
	require.NoError(t, f.CheckRole(Forwarder, []string{"x", "one.forwarders.example.org"}))
	err = f.CheckRole(Forwarder, []string{"spiffe://promgrpc/receiver"})
	require.ErrorContains(t, err, "forwarder")
	require.ErrorContains(t, err, "spiffe://promgrpc/receiver")
	require.ErrorContains(t, f.CheckRole(Forwarder, nil), "no verified certificate")
	for names, is := range map[string]bool{"spiffe://promgrpc/haproxy": true, "spiffe://promgrpc/forwarder": false, "": false} {
		assert.Equal(t, is, f.IsProxy([]string{names}), names)
	}
	assert.False(t, f.IsProxy(nil))
	nobody, err := OpenFor(folder(t, "roles: {server: [me]}\n"), nil, prepared)
	require.NoError(t, err)
	assert.False(t, nobody.IsProxy([]string{"me"}), "nobody is named for it")
}

func TestNoFile(t *testing.T) {
	f, err := Open("", nil)
	require.NoError(t, err)
	require.Nil(t, f)
	assert.False(t, f.HasRoles(Server))
	assert.False(t, f.HasPolicies())
	require.NoError(t, f.CheckRole(Server, nil))
	p, err := f.Policy(identity.Identity{Token: "x"})
	require.NoError(t, err)
	for _, r := range []Right{ToRead, ToReadLogs, ToReadStatus, ToWrite} {
		require.NoError(t, p.Check(r))
	}
	assert.False(t, p.Restricted())
	assert.Nil(t, f.Again())
	assert.Nil(t, f.Version())
	assert.Empty(t, f.Keys())
}

func TestWithoutPolicies(t *testing.T) {
	f, err := Open(folder(t, "roles: {server: [a]}"), nil)
	require.NoError(t, err)
	assert.False(t, f.HasPolicies())
	p, err := f.Policy(identity.Identity{Token: "anything"})
	require.NoError(t, err)
	require.NoError(t, p.Check(ToReadLogs))
}

func TestNothingIsNeededWithoutACredential(t *testing.T) {
	f, err := Open(folder(t, "policies: [{name: a, users: [a], write: {}}]"), nil)
	require.NoError(t, err)
	for _, id := range []identity.Identity{{}, {Token: "x"}} {
		_, err := f.Policy(id)
		denied := new(Denied)
		require.ErrorAs(t, err, &denied)
		assert.True(t, denied.Unauthenticated)
	}
}

// What is wrong is named with its line and its field.
func TestWrongFiles(t *testing.T) {
	const ok = "- name: a\n  users: [a]\n  read: {}\n"
	for text, want := range map[string]string{
		"":                                  "it is empty",
		"# nothing":                         "it is empty",
		"policies:":                         "line 1: policies has no value",
		"policies: []":                      "line 1: policies has no value",
		"policies: {}":                      "a mapping is wrong here",
		"x: 1":                              "line 1: unknown field x",
		"roles: {relay: [a]}":               "line 1: unknown field relay",
		"roles: {server: a}":                "line 1: a single value is wrong here",
		"roles: {server: [a, 'a b']}":       `line 1: roles.server[1]: "a b": it is neither`,
		"roles: {server: [a], server: [b]}": `already defined at line 1`,
		"a: b: c":                           "mapping values",
		"policies:\n" + ok + "---\nroles: {server: [a]}":                                                                                       "second document",
		"policies:\n- users: [a]\n  read: {}":                                                                                                  "policies[0].name: it is missing",
		"policies:\n- name: a b\n  users: [a]\n  read: {}":                                                                                     "line 2: policies[0].name: want",
		"policies:\n" + ok + ok:                                                                                                                "line 5: policies[1].name: line 2 has a policy of this name",
		"policies:\n" + ok + "- name: b\n  users: [b, a]\n  read: {}":                                                                          "line 6: policies[1].users[1]: line 3 has this user already",
		"policies:\n- name: a\n  read: {}":                                                                                                     "line 2: policies[0]: it is nobody's",
		"policies:\n- name: a\n  anonymous: false\n  read: {}":                                                                                 "it is nobody's",
		"policies:\n- name: a\n  users: [a]":                                                                                                   "line 2: policies[0]: it allows nothing",
		"policies:\n- name: a\n  users: [a]\n  read:\n":                                                                                        "line 4: read has no value",
		"policies:\n- name: a\n  users: [a]\n  read:\n    selectors:":                                                                          "line 5: selectors has no value",
		"policies:\n- name: a\n  users: [a]\n  read:\n    selectors: []":                                                                       "line 5: selectors has no value",
		"policies:\n- name: a\n  users: ['']\n  read: {}":                                                                                      "line 3: users has no value",
		"policies:\n- name: a\n  users: [a]\n  read: {logs: perhaps}":                                                                          "line 4: want true or false",
		"policies:\n- name: a\n  users: [a]\n  read: {streams: 0}":                                                                             "line 4: policies[0].read.streams: want a whole number above zero",
		"policies:\n- name: a\n  users: [a]\n  read: {streams: [1]}":                                                                           "line 4: want a single value",
		"policies:\n- name: a\n  users: [a]\n  read: {memory: much}":                                                                           "line 4: policies[0].read.memory: want a size",
		"policies:\n- name: a\n  users: [a]\n  read: {memory: -1MiB}":                                                                          "line 4: policies[0].read.memory: want a size",
		"policies:\n- name: a\n  users: [a]\n  read: {selectors: [up]}":                                                                        "line 4: policies[0].read.selectors: cursor_key_files is needed",
		"policies:\n- name: a\n  users: [a]\n  write: {tenant: a/b}":                                                                           "line 4: policies[0].write.tenant: ",
		"policies:\n- name: a\n  token_sha256: [abc]\n  read: {}":                                                                              "line 3: policies[0].token_sha256[0]: want 64 hexadecimal digits",
		"policies:\n- name: a\n  token_files: [hunter2]\n  read: {}":                                                                           "line 3: policies[0].token_files[0]: cannot open the file: no such file",
		"policies:\n- name: a\n  token_files: [.]\n  read: {}":                                                                                 "line 3: policies[0].token_files[0]: cannot read the file",
		"policies:\n- name: a\n  certificates: ['*']\n  read: {}":                                                                              "line 3: policies[0].certificates[0]: \"*\"",
		"policies:\n- name: a\n  token_files: hunter2\n  read: {}":                                                                             "line 3: a single value is wrong here",
		"policies:\n- name: a\n  anonymous: true\n  read: {}\n- name: b\n  anonymous: true\n  read: {}":                                        "line 6: policies[1].anonymous: line 3 has this caller",
		"policies:\n- name: a\n  token_files: [a.token]\n  read: {}\n- name: b\n  token_sha256: [" + sumOf("token-of-a") + "]\n  read: {}":     "line 6: policies[1].token_sha256[0]: line 3 has this token already",
		"cursor_key_files: [a.token]":                                                                                                          "line 1: cursor_key_files[0]: want 32 bytes as base64",
		"cursor_key_files: [nothing]":                                                                                                          "line 1: cursor_key_files[0]: cannot open the file",
		"cursor_key_files: [" + strings.Repeat("cursor.key,", 9) + "]":                                                                         "more than 8",
		"cursor_key_files: [cursor.key]\npolicies:\n- name: a\n  users: [a]\n  read: {selectors: ['broken']}":                                  "line 3: policies[0].read: selector 0 does not parse",
		"cursor_key_files: [cursor.key]\npolicies:\n- name: a\n  users: [a]\n  read: {selectors: [up], logs: true}":                            "line 5: policies[0].read: logs have all series",
		"cursor_key_files: [cursor.key]\npolicies:\n- name: a\n  users: [a]\n  read: {selectors: [" + strings.Repeat("up,", 65) + "]}":         "more than 64",
		"policies:\n- name: a\n  users: [x]\n  read: {}\n- name: b\n  users: [x]\n  read: {}\n- name: c\n  users: [x]\n  write: {tenant: '|'}": "policies[2]",
	} {
		_, err := OpenFor(folder(t, text), nil, prepared)
		if assert.Error(t, err, text) {
			assert.ErrorContains(t, err, want, text)
			assert.ErrorContains(t, err, Flag, text)
			assert.NotContains(t, err.Error(), "hunter2", "it may be a secret")
			assert.NotContains(t, err.Error(), "token-of-a")
		}
	}
	_, err := Open(filepath.Join(t.TempDir(), "nothing"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(folder(t, "#"+strings.Repeat(" ", mostBytes)), nil)
	require.ErrorContains(t, err, "more than")
}

// A file is read anew when it changes, or a file that it names does, and the last good
// one stays in use.
func TestReload(t *testing.T) {
	path := folder(t, exampleText())
	var log bytes.Buffer
	f, err := OpenFor(path, slog.New(slog.NewTextHandler(&log, nil)), prepared)
	require.NoError(t, err)
	policyOf := func(token string) string {
		p, err := f.Policy(identity.Identity{Token: token})
		if err != nil {
			return ""
		}
		return p.Name
	}
	becomes := func(token, policy string) {
		t.Helper()
		require.Eventually(t, func() bool { return policyOf(token) == policy }, 30*time.Second, 5*time.Millisecond)
	}
	before, err := f.Policy(identity.Identity{Token: "token-of-a"})
	require.NoError(t, err)
	relay, err := f.Policy(identity.Identity{Token: "token-of-relay"})
	require.NoError(t, err)

	write(t, filepath.Join(filepath.Dir(path), "a.token"), "second-of-a")
	becomes("second-of-a", "team-a")
	assert.Empty(t, policyOf("token-of-a"))
	after, err := f.Policy(identity.Identity{Token: "second-of-a"})
	require.NoError(t, err)
	assert.Same(t, before, after, "what it allows is the same")

	for _, broken := range []string{"", "policies: []", "x", "roles: {server: [a]}", exampleText()[:len(exampleText())-5]} {
		write(t, path, broken)
		require.Error(t, f.Reload())
		assert.Equal(t, "team-a", policyOf("second-of-a"))
		assert.Equal(t, "relay", policyOf("token-of-relay"))
	}
	assert.Equal(t, 1, strings.Count(log.String(), "\n"), "one line a change of state: %s", &log)

	write(t, path, strings.Replace(exampleText(), "streams: 10", "streams: 11", 1))
	require.Eventually(t, func() bool {
		p, err := f.Policy(identity.Identity{Token: "second-of-a"})
		return err == nil && p.Read.Streams == 11
	}, 30*time.Second, 5*time.Millisecond)
	same, err := f.Policy(identity.Identity{Token: "token-of-relay"})
	require.NoError(t, err)
	assert.Same(t, relay, same)
	assert.Equal(t, 2, strings.Count(log.String(), "\n"))

	// A file that is missing is looked for.
	require.NoError(t, os.Remove(filepath.Join(filepath.Dir(path), "a.token")))
	require.Error(t, f.Reload())
	write(t, filepath.Join(filepath.Dir(path), "a.token"), "third-of-a")
	becomes("third-of-a", "team-a")
	write(t, path, strings.Replace(exampleText(), "a.token", "b.token", 1))
	require.Error(t, f.Reload())
	write(t, filepath.Join(filepath.Dir(path), "b.token"), "fourth-of-a")
	becomes("fourth-of-a", "team-a")
	assert.NotContains(t, log.String(), "-of-a")
}

// What is wrong for a reason that no file shows is tried again.
func TestWrongIsTriedAgain(t *testing.T) {
	path := folder(t, exampleText())
	var fault atomic.Bool
	f, err := OpenFor(path, nil, func(*Policy) (any, error) {
		if fault.Load() {
			return nil, errors.New("too many open files")
		}
		return nil, nil
	})
	require.NoError(t, err)
	fault.Store(true)
	write(t, path, strings.Replace(exampleText(), "streams: 10", "streams: 11", 1))
	require.Error(t, f.Reload())
	fault.Store(false)
	require.Eventually(t, func() bool {
		p, err := f.Policy(identity.Identity{Token: "token-of-a"})
		return err == nil && p.Read.Streams == 11
	}, 30*time.Second, 10*time.Millisecond)
}

// An error travels in a header, however many names a certificate has.
func TestErrorsQuoteFewNames(t *testing.T) {
	f, err := OpenFor(folder(t, exampleText()), nil, prepared)
	require.NoError(t, err)
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example.org", i)
	}
	_, err = f.Policy(identity.Identity{Names: names})
	require.ErrorContains(t, err, names[0])
	assert.Less(t, len(err.Error()), 1000)
	err = f.CheckRole(Receiver, names)
	require.ErrorContains(t, err, names[0])
	assert.Less(t, len(err.Error()), 1000)
}

// However many files there are, looking at them takes a small part of the time.
func TestPauseAfter(t *testing.T) {
	for looking, want := range map[time.Duration]time.Duration{
		0: settled, time.Millisecond: settled, 30 * time.Millisecond: pauseFactor * 30 * time.Millisecond, time.Minute: longestPause,
	} {
		assert.Equal(t, want, pauseAfter(looking), looking)
	}
	f, err := Open(folder(t, "roles: {server: [a]}"), nil)
	require.NoError(t, err)
	f.pause.Store(int64(time.Hour))
	write(t, f.path, "roles: {server: [b]}")
	assert.Never(t, func() bool { return f.CheckRole(Server, []string{"b"}) == nil }, 3*settled, settled/10)
	f.pause.Store(int64(settled))
	require.Eventually(t, func() bool { return f.CheckRole(Server, []string{"b"}) == nil }, 30*time.Second, 5*time.Millisecond)
}

// Who has a role may change while it runs, but not whether it is asked for.
func TestRolesAreNotLost(t *testing.T) {
	path := folder(t, "roles: {receiver: [a], forwarder: [b], server: [c], proxy: [d]}")
	f, err := Open(path, nil)
	require.NoError(t, err)
	for _, r := range []Role{Receiver, Forwarder, Server} {
		var kept []string
		for other, name := range map[Role]string{Receiver: "e", Forwarder: "f", Server: "g"} {
			if other != r {
				kept = append(kept, fmt.Sprintf("%s: [%s]", other, name))
			}
		}
		write(t, path, "roles: {"+strings.Join(kept, ", ")+"}")
		require.ErrorContains(t, f.Reload(), "role "+string(r))
		require.Error(t, f.CheckRole(r, []string{"somebody"}))
	}
	write(t, path, "roles: {receiver: [e], forwarder: [f], server: [g]}")
	require.NoError(t, f.Reload(), "nobody is let in by a proxy that there is no longer")
	require.NoError(t, f.CheckRole(Receiver, []string{"e"}))
	require.Error(t, f.CheckRole(Receiver, []string{"a"}))
}

// FuzzParse: nothing panics, and what is accepted lets nobody do anything by an
// oversight.
func FuzzParse(f *testing.F) {
	f.Add([]byte(strings.Replace(exampleText(), "token_files: [a.token]", "anonymous: false", 1)))
	f.Add([]byte("policies: [{name: a, anonymous: true, read: {}}]"))
	f.Add([]byte("a: &a [*a]\npolicies: *a"))
	f.Add([]byte("policies: [&a {name: a, users: [a], read: {}}, {<<: *a, name: b, users: [b]}]"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, in []byte) {
		s, _, err := parse(in, filepath.Join(dir, "access.yml"), prepared)
		if err != nil {
			return
		}
		for _, p := range s.policies {
			assert.False(t, p.Read == nil && p.Write == nil)
			assert.False(t, p.Restricted() && (p.Read.Logs || len(s.keys) == 0))
		}
		p, err := s.policy(identity.Identity{})
		assert.Equal(t, len(s.policies) > 0 && s.anonymous == nil, err != nil)
		assert.Equal(t, s.anonymous, p)
	})
}
