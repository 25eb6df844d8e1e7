package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/identity"
	"github.com/promgrpc/exporter/internal/webconfig"
)

// folder has what a run makes.
func folder(t *testing.T) *options {
	t.Helper()
	dir := t.TempDir()
	o, err := parse([]string{"--certs=" + filepath.Join(dir, "certs"), "--dir=" + filepath.Join(dir, "secured")})
	require.NoError(t, err)
	out, err := exec.Command("go", "run", "../certs", "--dir="+o.certs).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, o.run())
	return o
}

// all files by their paths.
func (o *options) all(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(o.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, o.dir+"/")] = string(text)
		return err
	}))
	return files
}

// Nobody but its owner reads a file, and no part has the secret or the key of another.
func TestPartsKnowTheirOwn(t *testing.T) {
	o := folder(t)
	holders := map[string][]string{
		"admin.password": {"haproxy"}, "operator.token": {"client"}, "prometheus.password": {"prometheus"},
		"consul-management.token": {"consul"}, "consul-dns.token": {"consul"}, "consul-receiver.token": {"consul", "receiver"},
		"consul-forwarder.token": {"consul", "forwarder"}, "consul-server.token": {"consul", "server"}, "consul-prometheus.token": {"consul", "prometheus"},
	}
	files := o.all(t)
	for path, text := range files {
		info, err := os.Stat(filepath.Join(o.dir, path))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode(), path)
		part, name := filepath.Split(path)
		part = filepath.Clean(part)
		if part == "secrets" {
			require.Contains(t, holders, name)
			continue
		}
		for secret, parts := range holders {
			if strings.Contains(text, strings.TrimSpace(files["secrets/"+secret])) {
				require.Contains(t, parts, part, "%s has %s", path, secret)
			}
		}
		if strings.Contains(text, "PRIVATE KEY") {
			require.Contains(t, []string{"key.pem", "haproxy-bundle.pem"}, name)
			own, err := os.ReadFile(filepath.Join(o.certs, part+"-key.pem"))
			require.NoError(t, err)
			require.Contains(t, text, string(own), path)
		}
	}
}

// The configuration is what the programs take.
func TestConfiguration(t *testing.T) {
	o := folder(t)
	for path := range o.all(t) {
		full := filepath.Join(o.dir, path)
		switch filepath.Base(path) {
		case "web.yml", "rpc.yml":
			c, err := webconfig.Open("--web.config.file", full, slog.New(slog.DiscardHandler))
			require.NoError(t, err, path)
			require.True(t, c.SecuresTLS(), path)
		case "link.yml":
			_, err := webconfig.OpenTLS("--link.config.file", full, slog.New(slog.DiscardHandler))
			require.NoError(t, err, path)
		case "access.yml":
			f, err := access.Open(full, slog.New(slog.DiscardHandler))
			require.NoError(t, err, path)
			for _, role := range []access.Role{access.Receiver, access.Forwarder, access.Server, access.Proxy} {
				require.True(t, f.HasRoles(role))
			}
			token, err := openSecrets(o.dir)
			require.NoError(t, err)
			operator, err := token.get("operator.token")
			require.NoError(t, err)
			p, err := f.Policy(identity.Identity{Token: operator})
			require.NoError(t, err)
			require.NoError(t, p.Check(access.ToReadLogs))
			require.Error(t, p.Check(access.ToWrite))
			p, err = f.Policy(identity.Identity{User: "prometheus"})
			require.NoError(t, err)
			require.NoError(t, p.Check(access.ToWrite))
			require.Error(t, p.Check(access.ToRead))
		}
	}
	var web struct {
		Users map[string]string `yaml:"basic_auth_users"`
	}
	files := o.all(t)
	require.NoError(t, yaml.Unmarshal([]byte(files["receiver/web.yml"]), &web))
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(web.Users["prometheus"]), []byte(strings.TrimSpace(files["secrets/prometheus.password"]))))
}

// A Secret has what is in the folder of its part, but for what is hidden or for Consul.
func TestKustomization(t *testing.T) {
	o := folder(t)
	for _, added := range []string{"cursor.key", ".access.yml.swp"} {
		require.NoError(t, os.WriteFile(filepath.Join(o.dir, "server", added), nil, 0o600))
	}
	require.NoError(t, o.run())
	var k struct {
		SecretGenerator []struct {
			Name  string
			Files []string
		} `yaml:"secretGenerator"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(o.all(t)["kustomization.yaml"]), &k))
	got := map[string][]string{}
	for _, s := range k.SecretGenerator {
		got[s.Name] = s.Files
	}
	require.Equal(t, map[string][]string{
		"receiver":  {"receiver/access.yml", "receiver/ca.pem", "receiver/cert.pem", "receiver/key.pem", "receiver/web.yml"},
		"forwarder": {"forwarder/access.yml", "forwarder/ca.pem", "forwarder/cert.pem", "forwarder/key.pem", "forwarder/link.yml", "forwarder/web.yml"},
		"server":    {"server/access.yml", "server/ca.pem", "server/cert.pem", "server/cursor.key", "server/key.pem", "server/link.yml", "server/rpc.yml", "server/web.yml"},
		"haproxy":   {"haproxy/admin.password", "haproxy/ca.pem", "haproxy/haproxy-bundle.pem"},
	}, got)
}

// What was made is kept, but for certificates that were renewed.
func TestRunAgain(t *testing.T) {
	o := folder(t)
	edited := filepath.Join(o.dir, "server", "access.yml")
	require.NoError(t, os.WriteFile(edited, []byte("policies: []\n"), 0o600))
	before := o.all(t)
	out, err := exec.Command("go", "run", "../certs", "--dir="+o.certs).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, o.run())
	after := o.all(t)
	var changed []string
	for path, text := range after {
		if before[path] != text {
			changed = append(changed, path)
		}
	}
	slices.Sort(changed)
	require.Len(t, after, len(before))
	require.Equal(t, []string{
		"consul/cert.pem", "consul/key.pem", "forwarder/cert.pem", "forwarder/key.pem", "haproxy/haproxy-bundle.pem",
		"prometheus/cert.pem", "prometheus/key.pem", "receiver/cert.pem", "receiver/key.pem", "server/cert.pem", "server/key.pem",
	}, changed)
}

// Several that run at once agree on the secrets.
func TestRunsAtOnce(t *testing.T) {
	o := folder(t)
	for range 5 {
		require.NoError(t, os.RemoveAll(o.dir))
		var all sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			all.Go(func() { errs[i] = o.run() })
		}
		all.Wait()
		require.NoError(t, errors.Join(errs...))
		files := o.all(t)
		sum := sha256.Sum256([]byte(files["client/operator.token"]))
		require.Contains(t, files["server/access.yml"], hex.EncodeToString(sum[:]))
		for _, part := range []string{"receiver", "forwarder", "server"} {
			require.Equal(t, files["consul/"+part+".token"], files[part+"/consul.token"])
		}
	}
}

// A file of a secret that is empty, as a full disk may leave it, makes no empty password.
func TestEmptySecret(t *testing.T) {
	o := folder(t)
	password := filepath.Join(o.dir, "secrets", "admin.password")
	require.NoError(t, os.WriteFile(password, []byte("\n"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(o.dir, "prometheus", "web.yml")))
	require.ErrorContains(t, o.run(), password)
	require.NoFileExists(t, filepath.Join(o.dir, "prometheus", "web.yml"))
}
