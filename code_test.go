package exporter_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// code is what documents may name: what the repository declares.
type code struct {
	names    map[string]bool // declared in Go or in a .proto: Name, Type.Member, package.Name, package.Type.Member
	uses     map[string]bool // of other modules' packages: Name, package.Name
	imports  map[string]bool // by path
	tests    map[string][]string
	literals map[string]bool // the strings of the Go files that are no tests
	quoted   map[string]bool // what stands in quotes within the strings of all Go files
	prefixes []string        // those that something is appended to, to make a metric or a flag
	files    map[string]bool // by their last element
	targets  map[string]bool // of make
}

var (
	protoPackage = regexp.MustCompile(`(?m)^package ([\w.]+);`)
	protoName    = regexp.MustCompile(`(?m)^\s*(?:message|enum|service|rpc|oneof)\s+(\w+)`)
	protoField   = regexp.MustCompile(`(?m)^\s*(?:(?:optional|repeated)\s+)?[\w.]*\s*\b(\w+) = \d+`)
	makeTarget   = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
	inQuotes     = regexp.MustCompile(`"(\w+)"`)
	testName     = regexp.MustCompile(`^(?:Test|Benchmark|Fuzz|Example)(?:[A-Z_]|$)`)
)

func readCode(t *testing.T) *code {
	t.Helper()
	c := &code{
		names: map[string]bool{}, uses: map[string]bool{}, imports: map[string]bool{}, tests: map[string][]string{},
		literals: map[string]bool{}, quoted: map[string]bool{}, files: map[string]bool{}, targets: map[string]bool{},
	}
	for _, name := range repositoryFiles(t) {
		c.files[path.Base(name)] = true
		switch {
		case name == "Makefile":
			for _, target := range makeTarget.FindAllStringSubmatch(read(t, name), -1) {
				c.targets[target[1]] = true
			}
		case path.Ext(name) == ".go":
			c.readGo(t, name)
		case path.Ext(name) == ".proto":
			c.readProto(read(t, name))
		}
	}
	for literal := range c.literals {
		if strings.HasSuffix(literal, "_") || strings.HasSuffix(literal, ".") {
			c.prefixes = append(c.prefixes, literal)
		}
	}
	return c
}

func (c *code) readProto(text string) {
	for _, found := range protoPackage.FindAllStringSubmatch(text, -1) {
		c.names[found[1]] = true
		for _, name := range protoName.FindAllStringSubmatch(text, -1) {
			c.names[name[1]], c.names[found[1]+"."+name[1]] = true, true
		}
	}
	for _, field := range protoField.FindAllStringSubmatch(text, -1) {
		c.names[field[1]] = true
	}
}

func (c *code) readGo(t *testing.T, name string) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	others := map[string]bool{}
	for _, spec := range file.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		c.imports[imported] = true
		others[path.Base(imported)] = !strings.HasPrefix(imported, module)
	}
	for _, declared := range file.Decls {
		switch declared := declared.(type) {
		case *ast.FuncDecl:
			if strings.HasSuffix(name, "_test.go") && testName.MatchString(declared.Name.Name) {
				c.tests[declared.Name.Name] = append(c.tests[declared.Name.Name], path.Dir(name))
			}
			c.add(file, receiver(declared), declared.Name)
		case *ast.GenDecl:
			for _, spec := range declared.Specs {
				c.addSpec(file, spec)
			}
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.SelectorExpr:
			if of, is := node.X.(*ast.Ident); is && others[of.Name] {
				c.uses[node.Sel.Name], c.uses[of.Name+"."+node.Sel.Name] = true, true
				if of.Name == "prompb" { // whose package in protobuf has another name
					c.uses["prometheus."+node.Sel.Name] = true
				}
			}
		case *ast.BasicLit:
			text, err := strconv.Unquote(node.Value)
			if err != nil || node.Kind != token.STRING {
				break
			}
			for _, word := range inQuotes.FindAllStringSubmatch(text, -1) {
				c.quoted[word[1]] = true
			}
			if !strings.HasSuffix(name, "_test.go") {
				c.literals[text] = true
			}
		}
		return true
	})
}

func (c *code) addSpec(file *ast.File, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		c.add(file, "", spec.Names...)
	case *ast.TypeSpec:
		c.add(file, "", spec.Name)
		var members *ast.FieldList
		switch kind := spec.Type.(type) {
		case *ast.StructType:
			members = kind.Fields
		case *ast.InterfaceType:
			members = kind.Methods
		default:
			return
		}
		for _, member := range members.List {
			c.add(file, spec.Name.Name, member.Names...)
		}
	}
}

// add adds what a file declares, as documents may write it; of is the type of members.
func (c *code) add(file *ast.File, of string, declared ...*ast.Ident) {
	for _, ident := range declared {
		name := ident.Name
		if of != "" {
			name = of + "." + name
		}
		c.names[ident.Name], c.names[name], c.names[file.Name.Name+"."+name] = true, true, true
	}
}

// receiver returns the name of the type that a method is of.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	kind := f.Recv.List[0].Type
	if pointer, is := kind.(*ast.StarExpr); is {
		kind = pointer.X
	}
	if generic, is := kind.(*ast.IndexExpr); is {
		kind = generic.X
	}
	name, _ := kind.(*ast.Ident)
	return name.String()
}

// printed reports whether a program has the string, as it is or put together from a
// prefix and the rest.
func (c *code) printed(text string) bool {
	if c.literals[text] {
		return true
	}
	for _, prefix := range c.prefixes {
		if rest, ok := strings.CutPrefix(text, prefix); ok && c.literals[rest] {
			return true
		}
	}
	return false
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}
