package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is the access file as it is written.
type document struct {
	Roles struct {
		Receiver  []text `yaml:"receiver"`
		Forwarder []text `yaml:"forwarder"`
		Server    []text `yaml:"server"`
		Proxy     []text `yaml:"proxy"`
	} `yaml:"roles"`
	CursorKeyFiles []text       `yaml:"cursor_key_files"`
	Policies       []policyText `yaml:"policies"`
}

// policyText is a policy of it.
type policyText struct {
	Name         text       `yaml:"name"`
	TokenFiles   []text     `yaml:"token_files"`
	TokenSHA256  []text     `yaml:"token_sha256"`
	Users        []text     `yaml:"users"`
	Certificates []text     `yaml:"certificates"`
	Anonymous    *flag      `yaml:"anonymous"`
	Read         *readText  `yaml:"read"`
	Write        *writeText `yaml:"write"`
}

type readText struct {
	Selectors []text `yaml:"selectors"`
	Logs      *flag  `yaml:"logs"`
	Status    *flag  `yaml:"status"`
	Streams   text   `yaml:"streams"`
	Memory    text   `yaml:"memory"`
}

type writeText struct {
	Tenant text `yaml:"tenant"`
}

// text is a value, and where it stands. The line is zero where there is none.
type text struct {
	value string
	line  int
}

// UnmarshalYAML implements [yaml.Unmarshaler].
func (t *text) UnmarshalYAML(n *yaml.Node) error {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: want a single value", n.Line)
	}
	t.value, t.line = n.Value, n.Line
	return nil
}

// flag is true or false, and where it stands.
type flag struct {
	set  bool
	line int
}

// UnmarshalYAML implements [yaml.Unmarshaler].
func (f *flag) UnmarshalYAML(n *yaml.Node) error {
	f.line = n.Line
	if err := n.Decode(&f.set); err != nil {
		return fmt.Errorf("line %d: want true or false", n.Line)
	}
	return nil
}

// isSet is also of one that is left out.
func (f *flag) isSet() bool { return f != nil && f.set }

// decode reads a document. Every field has to be known and to have a value: one whose
// value was forgotten, or cut off, might otherwise mean more than was meant.
func decode(in []byte) (*document, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(in, &root); err != nil {
		return nil, plain(err)
	}
	if root.Kind == 0 {
		return nil, errors.New("it is empty")
	}
	if err := checkValues(&root, "the file"); err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(in))
	decoder.KnownFields(true)
	var d document
	if err := decoder.Decode(&d); err != nil {
		return nil, plain(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has a second document, after a line of ---")
	}
	return &d, nil
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
