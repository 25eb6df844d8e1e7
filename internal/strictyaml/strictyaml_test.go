package strictyaml

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type document struct {
	Name  Text         `yaml:"name"`
	Names []Text       `yaml:"names"`
	On    *Flag        `yaml:"on"`
	By    map[Text]int `yaml:"by"`
}

func TestDecode(t *testing.T) {
	var d document
	require.NoError(t, Decode([]byte("name: a\nnames:\n- b\n- 7\non: true\nby: {x: 1}\n"), &d))
	assert.Equal(t, document{
		Name: Text{"a", 1}, Names: []Text{{"b", 3}, {"7", 4}}, On: &Flag{true, 5}, By: map[Text]int{{"x", 6}: 1},
	}, d)
	assert.True(t, d.On.IsSet())
	assert.False(t, (*Flag)(nil).IsSet())
	require.EqualError(t, d.Name.At("name", assert.AnError), "line 1: name: "+assert.AnError.Error())
	require.EqualError(t, Text{}.At("name", assert.AnError), "name: "+assert.AnError.Error())
}

func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "it is empty",
		"name: secret: x":      "mapping values are not allowed in this context",
		"name:":                "line 1: name has no value; leave it out, or write one",
		"\nnames: []":          "line 2: names has no value; leave it out, or write one",
		"other: secret":        "line 1: unknown field other",
		"name: {a: secret}":    "line 1: want a single value",
		"names: secret":        "line 1: a single value is wrong here",
		"on: secret":           "line 1: want true or false",
		"name: a\n---\non: no": "it has a second document, after a line of ---",
		"by: {a: 1,\n a: 2}":   `line 2: mapping key "a" already defined at line 1`,
	} {
		assert.EqualError(t, Decode([]byte(text), &document{}), want, text)
	}
}
