package exporter_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	goals   = regexp.MustCompile(`(?m)^(?:tools/lanes|make) ((?:.*\\\n)*[^-].*)$`)
	goal    = regexp.MustCompile(`[a-z][a-z0-9-]+`)
	testAll = regexp.MustCompile(`(?m)^test-all: ([^#]*) ##`)
)

// What a change has to pass is each goal once: all tests, and the checks.
func TestCheckHasEachGoalOnce(t *testing.T) {
	all := testAll.FindStringSubmatch(read(t, "Makefile"))
	require.NotNil(t, all)
	want := []string{"check-generate", "lint", "check-vulnerabilities", "fuzz", "check-allocs", "ready"}
	for _, goal := range strings.Fields(all[1]) {
		if !slices.Contains([]string{"needs", "build", "tools", "tools-debian"}, goal) {
			want = append(want, goal)
		}
	}
	var got []string
	for _, found := range goals.FindAllStringSubmatch(read(t, ".ci/run"), -1) {
		got = append(got, goal.FindAllString(found[1], -1)...)
	}
	assert.ElementsMatch(t, want, got)
}

// A goal that fails is shown whole and named at the end, and holds up none of the others.
func TestLanesGoOn(t *testing.T) {
	_, err := os.ReadFile("tools/lanes") // so that go test knows of it
	require.NoError(t, err)
	path := t.TempDir()
	const program = "#!/bin/sh\necho \"output of $2\"\n[ $2 != broken ] && touch \"$DONE/$2\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(path, "make"), []byte(program), 0o755))
	run := func(lanes ...string) (said string, done []string, err error) {
		command := exec.CommandContext(t.Context(), "tools/lanes", lanes...)
		dir := t.TempDir()
		command.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "DONE="+dir)
		out, err := command.CombinedOutput()
		entries, err2 := os.ReadDir(dir)
		require.NoError(t, err2)
		for _, entry := range entries {
			done = append(done, entry.Name())
		}
		return string(out), done, err
	}
	said, done, err := run("a b", "c")
	require.NoError(t, err, said)
	assert.Equal(t, []string{"a", "b", "c"}, done)
	assert.NotContains(t, said, "output of")

	said, done, err = run("a broken b", "c")
	require.Error(t, err)
	assert.Equal(t, []string{"a", "b", "c"}, done)
	assert.Equal(t, 1, strings.Count(said, "output of"))
	assert.Contains(t, said, "output of broken\n")
	assert.True(t, strings.HasSuffix(said, "\nfailed: make broken\n"), said)
}
