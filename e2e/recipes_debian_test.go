//go:build debian

package e2e

import (
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

// TestEveryRecipe wants a test for each recipe.
func TestEveryRecipe(t *testing.T) {
	var all []string
	entries, err := filepath.Glob(harness.File(filepath.Join(recipes, "*", "README.md")))
	for _, entry := range entries {
		all = append(all, filepath.Base(filepath.Dir(entry)))
	}
	if want := []string{"alert", "balancer", "ruby", "sinks", "statistics"}; err != nil || !slices.Equal(all, want) {
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
