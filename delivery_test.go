package exporter_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var (
	pinned  = regexp.MustCompile(`^actions/[\w-]+@v\d+\.\d+\.\d+$`)
	golang  = regexp.MustCompile(`golang:([\w.-]+)`)
	setting = regexp.MustCompile(`(?m)^(\w+)=(.*)$`)
)

// Workflows run actions of a pinned version, and may only read unless a job says why not.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob(".github/workflows/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	commands := ""
	for _, file := range files {
		var workflow struct {
			Permissions map[string]string
			Jobs        map[string]struct {
				Permissions map[string]string
				Steps       []struct{ Uses, Run string }
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(read(t, file)), &workflow), file)
		assert.Equal(t, map[string]string{"contents": "read"}, workflow.Permissions, file)
		require.NotEmpty(t, workflow.Jobs, file)
		for name, job := range workflow.Jobs {
			for _, step := range job.Steps {
				commands += step.Run + "\n"
				if step.Uses != "" {
					assert.Regexp(t, pinned, step.Uses, file)
				}
				if job.Permissions != nil { // a job that may write runs nothing of the repository
					assert.NotContains(t, step.Run, "make", "%s: %s", file, name)
					assert.NotContains(t, step.Uses, "checkout", "%s: %s", file, name)
				}
			}
		}
	}
	for _, command := range []string{".ci/run", "buf breaking", "make release", "VULNERABILITIES=required"} {
		assert.Contains(t, commands, command)
	}
}

// Images and releases are built with one version of Go, which is that of the documents' example.
func TestOneGo(t *testing.T) {
	versions := map[string][]string{}
	for _, file := range []string{"deploy/Dockerfile", ".github/workflows/ci.yml", ".github/workflows/release.yml"} {
		found := golang.FindAllStringSubmatch(read(t, file), -1)
		require.NotEmpty(t, found, file)
		for _, version := range found {
			versions[version[1]] = append(versions[version[1]], file)
		}
	}
	assert.Len(t, versions, 1)
	for image := range versions {
		version, _, _ := strings.Cut(image, "-")
		assert.Contains(t, read(t, "docs/release.md"), "GOTOOLCHAIN=go"+version+" ")
	}
}

// Each long-running program has a unit, and all units confine their program alike.
func TestUnits(t *testing.T) {
	programs, err := os.ReadDir("cmd")
	require.NoError(t, err)
	var confined string
	units := 0
	for _, program := range programs {
		name := program.Name()
		if name == "prometheus-grpc-client" { // users run it themselves
			continue
		}
		units++
		_, service, _ := strings.Cut(read(t, path.Join("deploy/systemd", name+".service")), "[Service]\n")
		service, rules, ok := strings.Cut(service, "\n\n")
		require.True(t, ok, name)
		assert.Contains(t, service, "ExecStart=/usr/bin/"+name+"\n")
		assert.Contains(t, service, "EnvironmentFile=-/etc/default/"+name+"\n")
		if name != "prometheus-remote-receiver" { // which keeps no state
			assert.Contains(t, service, "StateDirectory="+name+"\n")
			assert.Contains(t, service, "Environment=PROMGRPC_STORAGE_PATH=/var/lib/"+name+"\n")
			assert.Contains(t, read(t, "deploy/debian/postrm"), " "+name)
		}
		for _, script := range []string{"postinst", "prerm"} {
			assert.Contains(t, read(t, "deploy/debian/"+script), " "+name, script)
		}
		if confined == "" {
			confined = rules
		}
		assert.Equal(t, confined, rules, name)
	}
	files, err := os.ReadDir("deploy/systemd")
	require.NoError(t, err)
	assert.Len(t, files, units)
	rules := map[string]string{}
	for _, rule := range setting.FindAllStringSubmatch(confined, -1) {
		rules[rule[1]] = rule[2]
	}
	for name, value := range map[string]string{"DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "CapabilityBoundingSet": ""} {
		got, ok := rules[name]
		assert.True(t, ok, name)
		assert.Equal(t, value, got, name)
	}
}

// If the vulnerability database cannot be reached, the check does not pass silently.
func TestVulnerabilities(t *testing.T) {
	const unreachable = "echo govulncheck: fetching vulnerabilities: no such host >&2; exit 1"
	for _, test := range []struct {
		govulncheck, required string
		passes                bool
		said                  string
	}{
		{"echo none", "optional", true, "none\n"},
		{"echo none", "required", true, "none\n"},
		{"echo GO-1; exit 3", "optional", false, "GO-1\n"},
		{"echo govulncheck: broken >&2; exit 1", "optional", false, "govulncheck: broken\n"},
		{unreachable, "optional", true, "NOT CHECKED for known vulnerabilities: govulncheck: fetching vulnerabilities: no such host\n"},
		{unreachable, "required", false, "NOT CHECKED for known vulnerabilities: govulncheck: fetching vulnerabilities: no such host\n"},
	} {
		govulncheck := filepath.Join(t.TempDir(), "govulncheck")
		require.NoError(t, os.WriteFile(govulncheck, []byte("#!/bin/sh\n"+test.govulncheck+"\n"), 0o755))
		said, err := exec.CommandContext(t.Context(), "release/vulnerabilities", govulncheck, test.required, "./cmd/...").CombinedOutput()
		assert.Equal(t, test.passes, err == nil, "%v: %v", test, err)
		assert.Equal(t, test.said, string(said))
	}
}

// Images and releases contain the licences.
func TestLicencesGoAlong(t *testing.T) {
	assert.Contains(t, read(t, "deploy/Dockerfile"), "COPY --from=build /src/LICENSE /out/THIRD_PARTY_LICENSES /licenses/")
	assert.Contains(t, read(t, "release/build"), "release/licenses ./cmd/... >")
}
