//go:build release

package release_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	name     = "prometheus-grpc-exporter"
	version  = "v0.1.2-rc.3"
	debian   = "0.1.2~rc.3"
	revision = "0123456789abcdef0123456789abcdef01234567"
	commit   = 1_700_000_000 // when it was made
)

var (
	architectures = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	services      = []string{"metrics-forwarder", "prometheus-api-server", "prometheus-grpc-exporter", "prometheus-remote-receiver"}
	binaries      = append([]string{"prometheus-grpc-client"}, services...)
)

// A release is the same whoever builds it where, and is whole.
func TestRelease(t *testing.T) {
	dist := build(t, "here", "022")
	other := build(t, "in a folder with another name", "077",
		"GOCACHE="+t.TempDir(), "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "GOAMD64=v3", "GOFLAGS=-buildvcs=true", "GOMAXPROCS=3")
	t.Run("same", func(t *testing.T) { same(t, dist, other) })
	t.Run("checksums", func(t *testing.T) { checksums(t, dist) })
	for architecture := range architectures {
		t.Run("archive "+architecture, func(t *testing.T) { archive(t, dist, architecture) })
		t.Run("package "+architecture, func(t *testing.T) { lint(t, deb(dist, architecture)) })
	}
	t.Run("installed", func(t *testing.T) { installed(t, deb(dist, runtime.GOARCH)) })
}

// What is no version of a clean commit is no release.
func TestVersions(t *testing.T) {
	for _, wrong := range []string{"", "1.2.3", "v1.2", "v1.2.3-4-gabcdef0", "v1.2.3-dirty", "abcdef0", "v1.2.3/../x"} {
		said, err := exec.CommandContext(t.Context(), "./build", wrong).CombinedOutput()
		require.Error(t, err, wrong)
		assert.Contains(t, string(said), "is no version such as", wrong)
	}
}

// build builds a release of a copy of what is in git or may be added to it, without
// the history, and returns the folder of its files.
func build(t *testing.T, folder, umask string, env ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), folder)
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = ".."
	names, err := list.Output()
	require.NoError(t, err)
	for file := range strings.SplitSeq(strings.Trim(string(names), "\x00"), "\x00") {
		info, err := os.Stat(filepath.Join("..", file))
		if err != nil || info.IsDir() { // deleted; a link to a folder
			continue
		}
		content, err := os.ReadFile(filepath.Join("..", file))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, file), content, info.Mode()))
	}
	command := exec.CommandContext(t.Context(), "sh", "-c", "umask "+umask+"; exec release/build "+version)
	command.Dir = root
	command.Env = append(os.Environ(), "REVISION="+revision, fmt.Sprint("SOURCE_DATE_EPOCH=", commit))
	command.Env = append(command.Env, env...)
	said, err := command.CombinedOutput()
	require.NoError(t, err, "%s", said)
	return filepath.Join(root, "dist", version)
}

func deb(dist, architecture string) string {
	return filepath.Join(dist, name+"_"+debian+"_"+architecture+".deb")
}

func same(t *testing.T, one, other string) {
	entries, err := os.ReadDir(one)
	require.NoError(t, err)
	others, err := os.ReadDir(other)
	require.NoError(t, err)
	require.Len(t, others, len(entries))
	for _, entry := range entries {
		assert.Equal(t, sum(t, filepath.Join(one, entry.Name())), sum(t, filepath.Join(other, entry.Name())), entry.Name())
	}
}

func sum(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(content))
}

// checksums checks that all files are there, and have the checksums that stand beside.
func checksums(t *testing.T, dist string) {
	want := []string{"THIRD_PARTY_LICENSES"}
	for architecture := range architectures {
		want = append(want, filepath.Base(deb(dist, architecture)), name+"_"+version+"_linux_"+architecture+".tar.gz")
		for _, binary := range binaries {
			want = append(want, binary+"_"+version+"_linux_"+architecture+".cdx.json")
		}
	}
	text, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	require.NoError(t, err)
	var got []string
	for line := range strings.Lines(string(text)) {
		checksum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		got = append(got, file)
		assert.Equal(t, sum(t, filepath.Join(dist, file)), checksum, file)
	}
	assert.ElementsMatch(t, want, got)
}

// archive checks an archive: who owns what is in it, and that its programs are static
// ones of that architecture, of which everything is on their lists.
func archive(t *testing.T, dist, architecture string) {
	folder := name + "_" + version + "_linux_" + architecture
	file, err := os.Open(filepath.Join(dist, folder+".tar.gz"))
	require.NoError(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	root := t.TempDir()
	seen := map[string]bool{}
	for reader := tar.NewReader(unzipped); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		seen[header.Name] = true
		assert.Equal(t, []any{0, 0, "", "", time.Unix(commit, 0).UTC()},
			[]any{header.Uid, header.Gid, header.Uname, header.Gname, header.ModTime.UTC()}, header.Name)
		assert.Zero(t, header.Mode&0o022, header.Name)
		if header.Typeflag == tar.TypeReg {
			out, err := os.OpenFile(filepath.Join(root, filepath.Base(header.Name)), os.O_CREATE|os.O_WRONLY, 0o755)
			require.NoError(t, err)
			_, err = io.Copy(out, reader)
			require.NoError(t, err)
			require.NoError(t, out.Close())
		}
	}
	for _, other := range []string{"LICENSE", "THIRD_PARTY_LICENSES", "CHANGELOG.md", "prometheus-grpc-client.1", "systemd/metrics-forwarder.service"} {
		assert.True(t, seen[folder+"/"+other], other)
	}
	for _, binary := range binaries {
		require.True(t, seen[folder+"/"+binary], binary)
		static(t, filepath.Join(root, binary), architectures[architecture])
		listed(t, filepath.Join(root, binary), filepath.Join(dist, binary+"_"+version+"_linux_"+architecture+".cdx.json"),
			filepath.Join(dist, "THIRD_PARTY_LICENSES"))
	}
}

func static(t *testing.T, binary string, machine elf.Machine) {
	program, err := elf.Open(binary)
	require.NoError(t, err)
	defer program.Close()
	assert.Equal(t, machine, program.Machine, binary)
	for _, part := range program.Progs {
		assert.NotContains(t, []elf.ProgType{elf.PT_INTERP, elf.PT_DYNAMIC}, part.Type, "%s is not static", binary)
	}
}

// listed checks that each module that a binary has is on its list and has a licence.
func listed(t *testing.T, binary, list, licenses string) {
	built, err := buildinfo.ReadFile(binary)
	require.NoError(t, err)
	require.NotEmpty(t, built.Deps)
	var contents struct {
		BOMFormat  string `json:"bomFormat"`
		Components []struct{ Name, Version string }
	}
	text, err := os.ReadFile(list)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &contents))
	assert.Equal(t, "CycloneDX", contents.BOMFormat)
	on := map[string]bool{}
	for _, component := range contents.Components {
		on[component.Name+" "+component.Version] = true
	}
	text, err = os.ReadFile(licenses)
	require.NoError(t, err)
	for _, module := range built.Deps {
		assert.True(t, on[module.Path+" "+module.Version], "%s is not in %s", module.Path, list)
		assert.Contains(t, string(text), "\n"+module.Path+" "+module.Version+"\n")
	}
}
