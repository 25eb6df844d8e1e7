package placement

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const example = `version: 2
spread: {labels: [job, instance]}
groups:
  b: {forwarders: "b1:8070,b2:8070", servers: "b3:8090"}
  a: {forwarders: "consul:///metrics-forwarder-a", servers: "dns+srv://a.example.org"}
  c: {servers: "c3:8090"}
epochs:
- groups: [a, z, b]
- from: 2026-12-01T13:00:00+01:00
  groups: [c, a, b]
`

func TestFile(t *testing.T) {
	f, err := ParseFile([]byte(example))
	require.NoError(t, err)
	assert.Equal(t, []Group{
		{"a", "consul:///metrics-forwarder-a", "dns+srv://a.example.org", 5},
		{"b", "b1:8070,b2:8070", "b3:8090", 4},
		{"c", "", "c3:8090", 6},
	}, f.Groups)
	p := f.Placement
	assert.Equal(t, uint64(2), p.Version())
	assert.Equal(t, ByLabels, p.Spread())
	assert.Equal(t, []string{"instance", "job"}, p.Labels())
	instant := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC).UnixMilli()
	assert.Equal(t, []Epoch{{Ever, []string{"a", "b", "z"}}, {instant, []string{"a", "b", "c"}}}, p.Epochs())
	b, has := f.Group("b")
	assert.True(t, has)
	assert.Equal(t, "b", b.Name)
	_, has = f.Group("z")
	assert.False(t, has)

	for _, other := range []string{
		strings.Replace(example, "[job, instance]", "[instance, job]", 1),
		strings.Replace(example, "[a, z, b]", "[b, z, a]", 1),
		strings.Replace(example, "2026-12-01T13:00:00+01:00", "2026-12-01T12:00:00Z", 1),
		strings.ReplaceAll(example, "8090", "8091"),
	} {
		same, err := ParseFile([]byte(other))
		require.NoError(t, err)
		assert.Equal(t, p.Bytes(), same.Placement.Bytes(), other)
	}
}

func TestFileWithoutSpread(t *testing.T) {
	f, err := ParseFile([]byte("groups:\n  a: {servers: \"a:8090\"}\n  b: {servers: \"b:8090\"}\n"))
	require.NoError(t, err)
	assert.Nil(t, f.Placement)
	assert.Len(t, f.Groups, 2)
}

func TestSpreads(t *testing.T) {
	for text, want := range map[string]Spread{"sender: true": BySender, "tenant: true": ByTenant, "labels: [x], sender: false": ByLabels} {
		f, err := ParseFile([]byte(strings.Replace(example, "labels: [job, instance]", text, 1)))
		require.NoError(t, err)
		assert.Equal(t, want, f.Placement.Spread())
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for _, test := range []struct{ old, new, want string }{
		{example, "", "it is empty"},
		{"version: 2\n", "", "version: want a whole number"},
		{"version: 2", "version: 0", "line 1: version: want a whole number from 1 on"},
		{"version: 2", "version: two", "line 1: version: want a whole number from 1 on"},
		{"version: 2", "versions: 2", "line 1: unknown field versions"},
		{"version: 2", "version:", "line 1: version has no value"},
		{"spread: {labels: [job, instance]}\n", "", "line 1: version: it is of spread, which is missing"},
		{"version: 2\nspread: {labels: [job, instance]}\n", "", "epochs: they are of spread, which is missing"},
		{"labels: [job, instance]", "labels: [job], tenant: true", "spread: want one of labels, sender: true, and tenant: true"},
		{"labels: [job, instance]", "tenant: false", "spread: want one of labels"},
		{"labels: [job, instance]", "tenant: yes please", "line 2: want true or false"},
		{"[job, instance]", "[job, job]", "line 2: spread.labels[1]: job is there twice"},
		{"  a: {forw", "  b: {forw", `line 5: mapping key "b" already defined at line 4`},
		{"  a: {forw", "  a b: {forw", `line 5: groups: "a b" is no name of a group`},
		{"{servers: \"c3:8090\"}", "{}", "line 6: groups.c: it has neither forwarders nor servers"},
		{"{servers: \"c3:8090\"}", "{server: \"c3:8090\"}", "line 6: unknown field server"},
		{"{servers: \"c3:8090\"}", "c3:8090", "line 6: a single value is wrong here"},
		{example[strings.Index(example, "groups:"):strings.Index(example, "epochs:")], "", "groups: there are none"},
		{example[strings.Index(example, "epochs:"):], "", "epochs: they are missing"},
		{"- groups: [a, z, b]\n", "", "line 8: epochs[0]: the first one counts from ever on"},
		{"- groups: [a, z, b]\n", "- groups: [a, a]\n", "line 8: epochs[0].groups[1]: a is there twice"},
		{"- groups: [a, z, b]\n", "- groups: [a, a/b]\n", `line 8: epochs[0]: "a/b" is no name of a group`},
		{"2026-12-01T13:00:00+01:00", "tomorrow", "line 9: epochs[1].from: want a time such as"},
		{"2026-12-01T13:00:00+01:00", "2026-12-01T13:00:00.0001Z", "line 9: epochs[1].from: want a time such as"},
		{"  groups: [c, a, b]", "  groups: [a, b, z]", "line 9: epochs[1]: it has the groups of the one before"},
		{"  groups: [c, a, b]", "  groups: [c, d]", "line 10: epochs[1].groups[1]: groups has no d"},
		{"  groups: [c, a, b]\n", "", "line 9: epochs[1]: it has no groups"},
		{"  groups: [c, a, b]\n", "  groups: [c]\n- from: 2026-12-01T12:00:00Z\n  groups: [a]\n", "line 11: epochs[2]: it does not begin after the one before"},
		{"  groups: [c, a, b]\n", "  groups: [c]\n---\nversion: 3\n", "it has a second document"},
	} {
		text := strings.Replace(example, test.old, test.new, 1)
		require.NotEqual(t, example, text)
		_, err := ParseFile([]byte(text))
		assert.ErrorContains(t, err, test.want, text)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("groups: {a: {servers: x}}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := ParseFile(in)
		if err != nil || file.Placement == nil {
			return
		}
		read, err := Parse(file.Placement.Bytes())
		require.NoError(t, err)
		assert.Equal(t, file.Placement.Epochs(), read.Epochs())
		for _, name := range file.Placement.Last() {
			_, has := file.Group(name)
			assert.True(t, has, name)
		}
	})
}
