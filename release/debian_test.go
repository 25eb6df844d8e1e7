//go:build release

package release_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exposure is the most that systemd-analyze may count of what a service could do: 0 is nothing, 100 everything.
const exposure = "15"

// lint lets Debian's own checker look at a package.
func lint(t *testing.T, deb string) {
	said, err := exec.CommandContext(t.Context(), "lintian", "--allow-root", "--fail-on", "error,warning", deb).CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// installed installs the package below a folder, tries what is in it, and removes it again.
func installed(t *testing.T, deb string) {
	root := t.TempDir()
	for _, folder := range []string{"info", "updates"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, "var/lib/dpkg", folder), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644))
	dpkg := func(args ...string) {
		t.Helper()
		run(t, "dpkg", append([]string{"--root=" + root, "--force-not-root", "--force-script-chrootless", "--force-bad-path", "--log=/dev/null"}, args...)...)
	}

	dpkg("--install", deb)
	for _, binary := range binaries {
		said := run(t, filepath.Join(root, "usr/bin", binary), "--version")
		assert.Contains(t, said, version)
		assert.Contains(t, said, revision)
		assert.FileExists(t, filepath.Join(root, "usr/share/man/man1", binary+".1.gz"))
	}
	for _, service := range services {
		settings(t, root, service)
		unit(t, root, service)
	}
	for _, file := range []string{"copyright", "changelog.gz", "THIRD_PARTY_LICENSES"} {
		assert.FileExists(t, filepath.Join(root, "usr/share/doc", name, file))
	}
	for _, file := range []string{"access.yml", "link.yml", "rpc.yml", "web.yml"} {
		example, err := os.ReadFile(filepath.Join(root, "usr/share/doc", name, "examples", file))
		require.NoError(t, err)
		assert.NotContains(t, string(example), "{{", file)
	}
	wants, err := filepath.Glob(filepath.Join(root, "etc/systemd/system/*"))
	require.NoError(t, err)
	assert.Empty(t, wants, "something is enabled")

	// As systemd keeps the state of a dynamic user.
	log := filepath.Join(root, "var/lib/private/metrics-forwarder/log")
	require.NoError(t, os.MkdirAll(log, 0o755))
	require.NoError(t, os.Symlink("private/metrics-forwarder", filepath.Join(root, "var/lib/metrics-forwarder")))
	dpkg("--remove", name)
	assert.NoFileExists(t, filepath.Join(root, "usr/bin/metrics-forwarder"))
	assert.DirExists(t, log)
	assert.FileExists(t, filepath.Join(root, "etc/default/metrics-forwarder"))
	dpkg("--purge", name)
	assert.NoDirExists(t, filepath.Dir(log))
	assert.NoFileExists(t, filepath.Join(root, "var/lib/metrics-forwarder"))
	assert.NoFileExists(t, filepath.Join(root, "etc/default/metrics-forwarder"))
}

var (
	space    = regexp.MustCompile(`\s+`)
	variable = regexp.MustCompile(`\(\$([A-Z0-9_]+)\)`)
	setting  = regexp.MustCompile(`(?m)^#([A-Z0-9_]+)=`)
)

// settings checks that the file has the variable of each flag, and sets none of them.
func settings(t *testing.T, root, service string) {
	text, err := os.ReadFile(filepath.Join(root, "etc/default", service))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		assert.True(t, line == "\n" || line[0] == '#', "%s: %s", service, line)
	}
	help, _, _ := strings.Cut(run(t, filepath.Join(root, "usr/bin", service), "--help"), "\nCommands:\n")
	wanted := submatches(variable, space.ReplaceAllString(help, ""))
	require.NotEmpty(t, wanted)
	assert.ElementsMatch(t, wanted, submatches(setting, string(text)), service)
}

func submatches(pattern *regexp.Regexp, text string) (found []string) {
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

// unit lets systemd's own checker look at a unit, with the binary where it is.
func unit(t *testing.T, root, service string) {
	text, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system", service+".service"))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), service+".service")
	moved := strings.ReplaceAll(string(text), "=/usr/bin/", "="+root+"/usr/bin/")
	require.NotEqual(t, string(text), moved)
	require.NoError(t, os.WriteFile(file, []byte(moved), 0o644))
	assert.Empty(t, run(t, "systemd-analyze", "verify", "--man=no", file), service)
	run(t, "systemd-analyze", "security", "--offline=true", "--threshold="+exposure, file)
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	require.NoError(t, err, "%s %s: %s", program, strings.Join(args, " "), said)
	return string(said)
}
