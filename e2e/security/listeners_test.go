package security

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/promgrpc/exporter/e2e/harness"
)

// binaries by what docs/security.md calls the programs.
var binaries = map[string][]string{
	"receiver":   {"prometheus-remote-receiver"},
	"forwarder":  {"metrics-forwarder"},
	"server":     {"prometheus-api-server"},
	"relay":      {"prometheus-grpc-client", "relay"},
	"all-in-one": {"prometheus-grpc-exporter"},
}

var (
	quoted     = regexp.MustCompile("`([^`]+)`")
	addressFor = regexp.MustCompile(`(?m)^ +(--[a-z.-]*listen[a-z-]*)=(\S*)`)
)

func inBackticks(cell string) (words []string) {
	for _, found := range quoted.FindAllStringSubmatch(cell, -1) {
		words = append(words, found[1])
	}
	return words
}

// TestListeners compares the table of listeners in docs/security.md with the flags of the
// programs: each address has a row, with its default and the files that secure it.
func TestListeners(t *testing.T) {
	t.Parallel()
	tab := readTable(t, "listener", "program")
	told := map[string][]string{}
	for _, r := range tab.rows {
		told[r.brought] = append(told[r.brought], inBackticks(r.outcomes["address"])...)
	}
	for name, program := range binaries {
		code, help, stderr := harness.Run(t, harness.Binary(t, program[0]), append(slices.Clone(program[1:]), "--help")...)
		assert.Zero(t, code)
		text := string(append(help, stderr...))
		defaults := map[string]string{}
		for _, found := range addressFor.FindAllStringSubmatch(text, -1) {
			defaults[found[1]] = strings.TrimSuffix(found[2], "...")
		}
		var flags []string
		for flag := range defaults {
			flags = append(flags, flag)
		}
		assert.ElementsMatch(t, flags, told[name], "addresses of the %s, by its help and by docs/security.md", name)
		for _, r := range tab.rows {
			if r.brought != name {
				continue
			}
			for _, flag := range inBackticks(r.outcomes["address"]) {
				assert.Equal(t, defaults[flag], inBackticks(r.outcomes["by default"])[0], "%s of the %s", flag, name)
			}
			for _, file := range inBackticks(r.outcomes["secured by"]) {
				assert.Contains(t, text, " "+file+"=FILE", "the help of the %s", name)
			}
		}
	}
}
