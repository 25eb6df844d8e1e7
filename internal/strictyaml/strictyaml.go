// Package strictyaml reads files that people write and programs obey.
//
// Guaranteed: every field is known and has a value, there is one document, and an error
// says the line. It quotes no value, which may be a secret in the wrong place.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Text is a value, and where it stands. The line is zero where there is none.
type Text struct {
	Value string
	Line  int
}

// UnmarshalYAML implements [yaml.Unmarshaler].
func (t *Text) UnmarshalYAML(n *yaml.Node) error {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: want a single value", n.Line)
	}
	t.Value, t.Line = n.Value, n.Line
	return nil
}

// At says where an error is.
func (t Text) At(field string, err error) error {
	if t.Line == 0 {
		return fmt.Errorf("%s: %w", field, err)
	}
	return fmt.Errorf("line %d: %s: %w", t.Line, field, err)
}

// Flag is true or false, and where it stands.
type Flag struct {
	set  bool
	Line int
}

// UnmarshalYAML implements [yaml.Unmarshaler].
func (f *Flag) UnmarshalYAML(n *yaml.Node) error {
	f.Line = n.Line
	if err := n.Decode(&f.set); err != nil {
		return fmt.Errorf("line %d: want true or false", n.Line)
	}
	return nil
}

// IsSet is also of one that is left out.
func (f *Flag) IsSet() bool { return f != nil && f.set }

// Decode reads a document. A field whose value was forgotten, or cut off, might otherwise
// mean more than was meant.
func Decode(in []byte, document any) error {
	var root yaml.Node
	if err := yaml.Unmarshal(in, &root); err != nil {
		return plain(err)
	}
	if root.Kind == 0 {
		return errors.New("it is empty")
	}
	if err := checkValues(&root, "the file"); err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(in))
	decoder.KnownFields(true)
	if err := decoder.Decode(document); err != nil {
		return plain(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("it has a second document, after a line of ---")
	}
	return nil
}

// checkValues finds what has no value.
func checkValues(n *yaml.Node, name string) error {
	switch {
	case n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!null" || n.Value == ""),
		n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return fmt.Errorf("line %d: %s has no value; leave it out, or write one", n.Line, name)
	}
	for i, child := range n.Content {
		of := name
		if n.Kind == yaml.MappingNode {
			of = n.Content[i&^1].Value
		}
		if err := checkValues(child, of); err != nil {
			return err
		}
	}
	return nil
}

var (
	unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)
	wrongType    = regexp.MustCompile("cannot unmarshal !!(\\w+)( `[^`]*`)? into \\S+")
	kinds        = map[string]string{"map": "a mapping", "seq": "a list"}
)

// plain puts an error of the YAML library into words of the file. It quotes no values,
// which may be secrets in the wrong place.
func plain(err error) error {
	s := unknownField.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "unknown field $1")
	s = wrongType.ReplaceAllStringFunc(s, func(match string) string {
		kind, ok := kinds[wrongType.FindStringSubmatch(match)[1]]
		if !ok {
			kind = "a single value"
		}
		return kind + " is wrong here"
	})
	s = strings.TrimPrefix(s, "unmarshal errors:\n  ")
	return errors.New(strings.ReplaceAll(s, "\n  ", "; "))
}
