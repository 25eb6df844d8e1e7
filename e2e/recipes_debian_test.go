//go:build debian

package e2e

import (
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestRecipesOfOthers is TestRecipes for those in other languages, and with other
// programs.
func TestRecipesOfOthers(t *testing.T) {
	t.Parallel()
	r := newRecipes(t)
	root := harness.File(".")
	t.Run("statistics", func(t *testing.T) {
		harness.Python(t)
		r.run(t, "statistics", root)
	})
	t.Run("ruby", func(t *testing.T) {
		if out, err := exec.Command("/usr/bin/ruby", "-e", `require "grpc"`).CombinedOutput(); err != nil {
			t.Fatalf("ruby with gRPC is needed: run `make tools-debian` (%v)\n%s", err, out)
		}
		harness.Tool(t, "protoc")
		dir := copyRecipe(t, "ruby", "buf.gen.yaml", "latest.rb")
		config := filepath.Join(dir, "buf.gen.yaml")
		replaceIn(t, config, "git_repo: https://github.com/promgrpc/exporter.git", "directory: "+root)
		r.run(t, "ruby", dir)
	})
	t.Run("sinks", func(t *testing.T) {
		r.run(t, "sinks", copyRecipe(t, "sinks", "to-kafka"), "localhost:9092", harness.StartKafka(t))
	})
}

// TestRecipeBalancer is TestRecipes for what needs a balancer.
func TestRecipeBalancer(t *testing.T) {
	t.Parallel()
	target := harness.NewLocal(t, harness.Options{})
	writeRooms(t, target.Cluster)
	harness.Tool(t, "grpcurl")
	runRecipe(t, "balancer", harness.File("."), "localhost:8090", target.HAProxy().RPC)
}

// TestRecipeSecured is TestRecipes for what needs a server that wants to know who reads.
// Here that is a relay.
func TestRecipeSecured(t *testing.T) {
	t.Parallel()
	harness.Python(t)
	harness.Tool(t, "grpcurl")
	cluster := harness.NewCluster(t, harness.Options{})
	writeRooms(t, cluster)
	data := t.TempDir()
	certs, kitchen := newCertificates(t, filepath.Join(data, "certs")), filepath.Join(data, "kitchen")
	certs.issue("server", "127.0.0.1")
	files := map[string][]byte{
		"kitchen.token": []byte("of-the-kitchen\n"),
		"cursor.key":    []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))),
	}
	for _, name := range []string{"web.yml", "access.yml"} {
		var err error
		if files[name], err = os.ReadFile(harness.File(filepath.Join(recipes, "secured", name))); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		if err := errors.Join(os.MkdirAll(kitchen, 0o700), os.WriteFile(filepath.Join(kitchen, name), content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	relay := harness.Start(t, "relay", harness.Binary(t, "prometheus-grpc-client"), "relay", "--upstream="+cluster.RPC(0), "--listen=127.0.0.1:0",
		"--storage.path="+t.TempDir(), "--rpc.config.file="+filepath.Join(kitchen, "web.yml"), "--access.file="+filepath.Join(kitchen, "access.yml"))
	address := relay.Listening("rpc")
	harness.Eventually(t, "the relay's copy", func() bool {
		code, out, _ := harness.Client(t, "get", "--address="+address, "--tls-ca-file="+certs.authority(),
			"--bearer-token-file="+filepath.Join(kitchen, "kitchen.token"))
		return code == 0 && len(out) > 0
	})
	runRecipe(t, "secured", harness.File("."), "localhost:8090", address, "data/certs", certs.dir, "data/kitchen", kitchen)
}

// TestEveryRecipe wants a test for each recipe.
func TestEveryRecipe(t *testing.T) {
	var all []string
	entries, err := filepath.Glob(harness.File(filepath.Join(recipes, "*", "README.md")))
	for _, entry := range entries {
		all = append(all, filepath.Base(filepath.Dir(entry)))
	}
	if want := []string{"alert", "autoscaler", "balancer", "grafana", "ruby", "secured", "sinks", "statistics"}; err != nil || !slices.Equal(all, want) {
		t.Errorf("there are recipes for %q, and tests for %q (%v)", all, want, err)
	}
}

// copyRecipe returns a new folder with files of a recipe.
func copyRecipe(t *testing.T, name string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range files {
		content, err := os.ReadFile(harness.File(filepath.Join(recipes, name, file)))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), content, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func replaceIn(t *testing.T, file, from, to string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), from) {
		t.Fatalf("no %q in %s", from, file)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(content), from, to)), 0o644); err != nil {
		t.Fatal(err)
	}
}
