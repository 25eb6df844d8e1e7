package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// module writes the files of a module, and returns a package of it.
func module(t *testing.T, name, folder string, files ...string) listed {
	t.Helper()
	root := t.TempDir()
	p := listed{Dir: filepath.Join(root, folder)}
	require.NoError(t, os.MkdirAll(p.Dir, 0o755))
	for _, file := range files {
		require.NoError(t, os.WriteFile(filepath.Join(root, file), []byte("text of "+file+"\n"), 0o644))
	}
	p.Module = &struct {
		Path, Version, Dir string
		Main               bool
	}{Path: name, Version: "v1.0.0", Dir: root}
	return p
}

func printed(t *testing.T, packages ...listed) (string, error) {
	t.Helper()
	linked := map[string]*component{}
	for _, p := range packages {
		require.NoError(t, add(linked, p))
	}
	var out bytes.Buffer
	err := write(&out, linked)
	return out.String(), err
}

func TestLicenses(t *testing.T) {
	for _, test := range []struct {
		files         []string
		want, missing string
	}{
		{[]string{"LICENSE"}, "LICENSE", ""},
		{[]string{"LICENSE.md", "NOTICE", "PATENTS"}, "LICENSE.md NOTICE PATENTS", ""},
		{[]string{"COPYING", "inner/License.txt"}, "COPYING inner/License.txt", ""},
		{[]string{"inner/LICENSE"}, "inner/LICENSE", ""},
		{[]string{"LICENSE-MIT", "license.go", "LICENSEE", "README"}, "LICENSE-MIT", ""},
		{[]string{"NOTICE", "license.go"}, "", "example.com/a v1.0.0"},
		{nil, "", "example.com/a v1.0.0"},
	} {
		out, err := printed(t, module(t, "example.com/a", "inner", test.files...))
		if test.missing != "" {
			require.ErrorContains(t, err, test.missing, "%v", test.files)
			continue
		}
		require.NoError(t, err, "%v", test.files)
		for _, name := range strings.Fields(test.want) {
			assert.Contains(t, out, "\nexample.com/a v1.0.0\n\ntext of "+name+"\n", "%v", test.files)
		}
		assert.Equal(t, len(strings.Fields(test.want)), strings.Count(out, "text of"), "%v: %s", test.files, out)
	}
}

func TestSameTextStandsOnce(t *testing.T) {
	out, err := printed(t, module(t, "example.com/b", "", "LICENSE"), module(t, "example.com/a", "", "LICENSE"))
	require.NoError(t, err)
	assert.Contains(t, out, "\nexample.com/a v1.0.0\nexample.com/b v1.0.0\n\ntext of LICENSE\n")
	assert.Equal(t, 1, strings.Count(out, "text of"))
}

// A licence that a package of the page only names has its text beside.
func TestNamedLicenses(t *testing.T) {
	p := module(t, "page", "", "licenses-1a.txt", "other.txt")
	p.Module.Main, p.EmbedFiles = true, []string{"licenses-1a.txt", "other.txt"}
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "licenses-1a.txt"),
		[]byte("a 1 (A)\n\nSPDX-License-Identifier: (A-1.0 AND B)\n"), 0o644))
	linked := map[string]*component{}
	require.NoError(t, add(linked, p))
	require.ErrorContains(t, addNamed(linked, fstest.MapFS{"A-1.0.txt": {Data: []byte("one")}}), "B")
	require.NoError(t, addNamed(linked, fstest.MapFS{"A-1.0.txt": {Data: []byte("one")}, "B.txt": {Data: []byte("two")}}))
	var out bytes.Buffer
	require.NoError(t, write(&out, linked))
	for _, part := range []string{"a 1 (A)", "\none\n", "\ntwo\n"} {
		assert.Contains(t, out.String(), part)
	}
	assert.NotContains(t, out.String(), "other.txt")
}
