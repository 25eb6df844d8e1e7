package e2e

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/promgrpc/exporter/e2e/harness"
)

const recipes = "docs/recipes"

// TestRecipes runs the commands in docs/recipes, and compares what they print
// with what is printed there.
func TestRecipes(t *testing.T) {
	t.Parallel()
	r := newRecipes(t)
	t.Run("autoscaler", func(t *testing.T) { r.run(t, "autoscaler", harness.File(".")) })
	t.Run("grafana", func(t *testing.T) {
		harness.Tool(t, "promtool")
		r.run(t, "grafana", harness.File("."))
	})
}

// TestRecipeAlert is TestRecipes for what goes by when samples come.
func TestRecipeAlert(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{})
	room := func(name string, v float64) prompb.TimeSeries {
		return series(map[string]string{"__name__": "room_temperature_celsius", "room": name}, v)
	}
	write(t, cluster, room("attic", 29), room("cellar", 12), room("kitchen", 21))
	write(t, cluster, room("attic", 37), room("cellar", 12), room("kitchen", 33))
	// Three steps of 5 s later they have been warm for 10 s.
	time.Sleep(20 * time.Second)
	write(t, cluster, room("attic", math.Float64frombits(value.StaleNaN)), room("cellar", 11), room("kitchen", 24))
	runRecipe(t, "alert", harness.File("."), "localhost:8090,localhost:8091", cluster.RPCs(), "/tmp", t.TempDir())
}

// recipeRig is what recipes are about.
type recipeRig struct{ addresses []string }

func newRecipes(t *testing.T) *recipeRig {
	t.Helper()
	cluster := harness.NewCluster(t, harness.Options{})
	writeRooms(t, cluster)
	return &recipeRig{[]string{"localhost:8090,localhost:8091", cluster.RPCs(), "localhost:8090", cluster.RPC(0)}}
}

// run is runRecipe with the addresses of the rig, and more replacements.
func (r *recipeRig) run(t *testing.T, name, dir string, replacements ...string) {
	t.Helper()
	runRecipe(t, name, dir, append(replacements, r.addresses...)...)
}

// writeRooms writes the series that the recipes are about.
func writeRooms(t *testing.T, cluster *harness.Cluster) {
	t.Helper()
	gone := math.Float64frombits(value.StaleNaN)
	rooms := []struct {
		name   string
		values []float64
	}{
		{"attic", []float64{29, 35, 36, 37, gone}},
		{"cellar", []float64{12, 12.5, 13, 12, 11}},
		{"kitchen", []float64{21, 31, 32, 33, 24}},
	}
	start := time.Now().Add(-time.Minute).Truncate(time.Second)
	for i := range rooms[0].values {
		var list []prompb.TimeSeries
		for _, room := range rooms {
			s := series(map[string]string{"__name__": "room_temperature_celsius", "room": room.name}, room.values[i])
			s.Samples[0].Timestamp = start.Add(time.Duration(i) * 10 * time.Second).UnixMilli()
			list = append(list, s)
		}
		write(t, cluster, list...)
	}
	awaitSeries(t, cluster, `room_temperature_celsius`, 2)
	for i := range cluster.Servers {
		harness.Eventually(t, "a step that has all of that", func() bool {
			code, out, _ := harness.Client(t, "query", "--address="+cluster.RPC(i), "--step=1s", "--template={{.Value}}",
				`last_over_time(room_temperature_celsius{room="cellar"}[5m])`)
			return code == 0 && string(out) == "11\n"
		})
	}
}

// step of a recipe: a command, and what it prints.
type step struct{ command, output string }

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// steps of a recipe: its blocks marked sh, each with the block marked text that
// follows.
func steps(t *testing.T, name string) []step {
	t.Helper()
	text, err := os.ReadFile(harness.File(filepath.Join(recipes, name, "README.md")))
	if err != nil {
		t.Fatal(err)
	}
	var list []step
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		switch block[1] {
		case "sh":
			list = append(list, step{command: block[2]})
		case "text":
			list[len(list)-1].output = block[2]
		}
	}
	if len(list) == 0 {
		t.Fatalf("the recipe %s has no command", name)
	}
	return list
}

// runRecipe runs the commands of a recipe in a folder, with some words replaced
// by others, and fails the test where one prints other things than the recipe
// says. A command may go on after that.
func runRecipe(t *testing.T, name, dir string, replacements ...string) {
	replace := strings.NewReplacer(replacements...).Replace
	path := strings.Join([]string{
		filepath.Dir(harness.Binary(t, "prometheus-grpc-client")), filepath.Dir(harness.Tool(t, "buf")), os.Getenv("PATH"),
	}, ":")
	for i, step := range steps(t, name) {
		if step.output == "" {
			t.Errorf("step %d does not say what it prints:\n%s", i+1, step.command)
		}
		p := harness.StartEnv(t, fmt.Sprintf("step%d", i+1), []string{"PATH=" + path},
			"bash", "-euc", "cd '"+dir+"'\n"+replace(step.command))
		want, printed := mask(step.output), func() string { return mask(p.Stdout().String()) }
		harness.Eventually(t, step.command, func() bool { return !p.Running() || printed() == want })
		if got := printed(); got != want {
			t.Errorf("step %d:\n%s\nprinted:\n%s\nnot:\n%s", i+1, step.command, got, want)
		}
		if p.Running() {
			continue
		}
		if code := p.Wait(time.Minute); code != 0 {
			t.Errorf("step %d ended with the code %d:\n%s", i+1, code, step.command)
		}
	}
}

var masked = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\b\d{13}\b|("cursor": )"[^"]+"`)

// mask takes out what is another in each run: times and cursors.
func mask(text string) string { return masked.ReplaceAllString(text, "$1…") }
