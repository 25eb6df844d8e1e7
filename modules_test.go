package exporter_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	// required is a line of go.mod's require blocks.
	required = regexp.MustCompile(`(?m)^(?:require)?\s+(\S+) v\S+( // indirect)?$`)
	// explained is a row of the table of modules in docs/design.md.
	explained = regexp.MustCompile(`(?m)^\| ([^ ]+\.[^ ]+/[^ ]+) \| (.+) \|$`)
)

// Each module that go.mod requires directly has a reason in docs/design.md, which
// says whether it is for tests alone.
func TestModulesHaveReasons(t *testing.T) {
	reasons := reasonsOfModules(t)
	used := map[string]bool{} // whether the product imports it
	for _, name := range directModules(t) {
		used[name] = false
		assert.NotEmpty(t, reasons[name], "docs/design.md does not say why %s is required", name)
	}
	for _, file := range goFiles(t) {
		if file.test() || slices.Contains(outside, top(file.name)) || slices.Contains(testers, path.Dir(file.name)) {
			continue
		}
		for _, imported := range file.imports {
			for name := range used {
				if imported == name || strings.HasPrefix(imported, name+"/") {
					used[name] = true
				}
			}
		}
	}
	for name, reason := range reasons {
		inProduct, direct := used[name]
		if assert.True(t, direct, "docs/design.md has a reason for %s, which go.mod does not require directly", name) {
			assert.Equal(t, inProduct, !strings.HasPrefix(reason, "Tests: "), "who imports %s: %s", name, reason)
		}
	}
}

func directModules(t *testing.T) (names []string) {
	t.Helper()
	for _, match := range required.FindAllStringSubmatch(read(t, "go.mod"), -1) {
		if match[2] == "" {
			names = append(names, match[1])
		}
	}
	require.NotEmpty(t, names)
	return names
}

func reasonsOfModules(t *testing.T) map[string]string {
	t.Helper()
	reasons := map[string]string{}
	for _, match := range explained.FindAllStringSubmatch(read(t, "docs/design.md"), -1) {
		reasons[match[1]] = match[2]
	}
	return reasons
}
