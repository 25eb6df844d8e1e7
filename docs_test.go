package exporter_test

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Documents name what exists: in backticks, as the name of a test wherever it
// stands, and in links.
func TestDocumentsNameWhatExists(t *testing.T) {
	c, seen := readCode(t), map[string]int{}
	for _, name := range repositoryFiles(t) {
		if path.Ext(name) != ".md" || top(name) == "gen" {
			continue
		}
		for _, found := range mentions(read(t, name)) {
			seen[found.kind]++
			assert.True(t, c.has(path.Dir(name), found), "%s: there is no %s %s %s", name, found.kind, found.text, found.of())
		}
	}
	for kind := range checks {
		assert.NotZero(t, seen[kind], "no document has a mention that is read as a %s", kind)
	}
}

func TestMentionsOfWhatDoesNotExist(t *testing.T) {
	c := readCode(t)
	for _, test := range []struct{ text, wrong string }{
		{"`make test lint`, `make run RUNFLAGS=x`", ""},
		{"`make tests`", "tests"},
		{"`--storage.path=data`, `--limit.`", ""},
		{"`--storage.pathh=data`", "--storage.pathh"},
		{"`promgrpc_server_gaps_total{reason=\"x\"}`", ""},
		{"`promgrpc_server_gap_total`", "promgrpc_server_gap_total"},
		{"`arch_test.go`, `internal/segment`, `docs/../go.mod`, `text/template`", ""},
		{"`arch_tests.go`", "arch_tests.go"},
		{"`cmd → internal/segments`", "internal/segments"},
		{"`seglog.Store`, `Store.Close`, `promgrpc.metrics.v1.TimeSeries`, `GetMetrics`, `min_interval`, `.Labels`", ""},
		{"`seglog.Stores`", "seglog.Stores"},
		{"`Store.Opens`", "Store.Opens"},
		{"`goFilez()`", "goFilez()"},
		{"`GetMetricses`", "GetMetricses"},
		{"`max_interval`", "max_interval"},
		{"`internal/seglog` TestRecovery, TestPowerCut; TestTorture", ""},
		{"`internal/segment` TestRecovery", "TestRecovery"},
		{"`internal/seglog` TestPowerCut, TestRecoveries", "TestRecoveries"},
		{"follow.test.ts", ""},
		{"following.test.ts", "following.test.ts"},
		{"[a](docs/design.md), [b](https://example.com/x), [c](#the-code)\n## The code", ""},
		{"[a](docs/designs.md)", "docs/designs.md"},
		{`<img src="docs/pictures/none.png">`, "docs/pictures/none.png"},
		{"[a](#the-core)\n## The code", "#the-core"},
		{"```\n`GetMetricses`\n```", ""},
		{"```\nmake build lintt # and more\nbin/prometheus-grpc-client get up --folow\ncurl --foo\n```", "lintt --folow"},
	} {
		var wrong []string
		for _, found := range mentions(test.text) {
			if !c.has(".", found) {
				wrong = append(wrong, found.text)
			}
		}
		assert.Equal(t, test.wrong, strings.Join(wrong, " "), test.text)
	}
}

// mention is something that a document names.
type mention struct {
	kind, text string
	within     string // the folder that the document says a test is in; the document, for a link
}

func (m mention) of() string {
	if m.kind == "test" && m.within != "" {
		return "in " + m.within
	}
	return ""
}

// checks says of each kind of mention whether the repository has it, in a document of a folder.
var checks = map[string]func(c *code, folder string, m mention) bool{
	"target": func(c *code, _ string, m mention) bool { return c.targets[m.text] },
	"flag": func(c *code, _ string, m mention) bool {
		name := strings.TrimPrefix(strings.TrimPrefix(m.text, "--"), "no-")
		return c.printed(name) || c.printed(m.text) || slices.Contains(c.prefixes, name) || slices.Contains(c.prefixes, m.text)
	},
	"metric": func(c *code, _ string, m mention) bool { return c.printed(m.text) },
	"path":   (*code).hasPath,
	"name":   func(c *code, _ string, m mention) bool { return c.hasName(strings.Trim(m.text, ".()")) },
	"test": func(c *code, _ string, m mention) bool {
		return slices.ContainsFunc(c.tests[m.text], func(folder string) bool {
			return m.within == "" || folder == m.within
		})
	},
	"link": func(_ *code, folder string, m mention) bool { return leads(folder, m) },
}

func (c *code) has(folder string, m mention) bool { return checks[m.kind](c, folder, m) }

func (c *code) hasPath(folder string, m mention) bool {
	first, _, nested := strings.Cut(m.text, "/")
	switch {
	case slices.Contains([]string{"bin", "data", "dist", "node_modules"}, first): // not in git
		return true
	case !nested:
		return c.files[m.text]
	}
	name := strings.TrimSuffix(m.text, "/...")
	return exists(name) || exists(path.Join(folder, name)) || c.imports[name]
}

func (c *code) hasName(name string) bool {
	return c.names[name] || c.uses[name] || c.literals[name] || c.quoted[name]
}

// leads reports whether a link's file exists, and has the heading that it names.
func leads(folder string, link mention) bool {
	name, anchor, _ := strings.Cut(link.text, "#")
	text := link.within
	if name != "" {
		name = path.Join(folder, name)
		if !exists(name) {
			return false
		}
		read, err := os.ReadFile(name)
		if anchor != "" && err != nil {
			return false
		}
		text = string(read)
	}
	return anchor == "" || slices.ContainsFunc(headings.FindAllStringSubmatch(text, -1), func(found []string) bool {
		return anchor == strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(found[1]), ""), " ", "-")
	})
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

var (
	fences      = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	commands    = regexp.MustCompile(`(?m)^(?:bin/)?(?:prometheus-(?:api|grpc|remote)|metrics-forwarder|make )[^#&|'"\n]*`)
	spans       = regexp.MustCompile("`([^`]+)`")
	links       = regexp.MustCompile(`(?:\]\(|src(?:set)?=")([^)"\s]+)[)"]`)
	headings    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noAnchor    = regexp.MustCompile(`[^\w -]`)
	listOfTests = regexp.MustCompile("(?:`([\\w/]+)`\\s+)?`?((?:Test|Benchmark|Fuzz)[A-Z]\\w*(?:`?,\\s+`?(?:Test|Benchmark|Fuzz)[A-Z]\\w*)*)")
	oneTest     = regexp.MustCompile(`\w+`)
	pageTest    = regexp.MustCompile(`[\w-]+\.test\.ts\b`)

	isTarget = regexp.MustCompile(`^[a-z0-9-]+$`)
	isFlag   = regexp.MustCompile(`^--[a-z][a-z.-]*`)
	isMetric = regexp.MustCompile(`^promgrpc_[a-z_]+`)
	isPath   = regexp.MustCompile(`^(?:[\w.-]+/[\w./-]*|[\w-][\w.-]*\.(?:go|md|proto|txt|yml|sh|svg|png|py|ts|mod|cfg|seg|binpb))$`)
	// A name of code: of several parts, of several words, or one word with a capital.
	isName = regexp.MustCompile(`^(?:\.?[A-Z]\w*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[a-z]+[A-Z]\w*|[a-z]+_[a-z_]+|[A-Za-z_]\w*\(\))(?:\(\))?$`)
	// One that is not of code: a status, a variable of the environment, a keyword.
	isUpper = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
)

// mentions returns what a document names. Of its examples, commands of the project's
// own programs and of make count.
func mentions(document string) []mention {
	var found []mention
	for _, example := range fences.FindAllString(document, -1) {
		for _, line := range commands.FindAllString(example, -1) {
			found = append(found, mentionsOfSpan(strings.Fields(line))...)
		}
	}
	text := fences.ReplaceAllString(document, "")
	for _, s := range spans.FindAllStringSubmatch(text, -1) {
		found = append(found, mentionsOfSpan(strings.Fields(s[1]))...)
	}
	for _, s := range listOfTests.FindAllStringSubmatch(text, -1) {
		for _, name := range oneTest.FindAllString(s[2], -1) {
			found = append(found, mention{"test", name, s[1]})
		}
	}
	for _, name := range pageTest.FindAllString(text, -1) {
		found = append(found, mention{"path", name, ""})
	}
	for _, s := range links.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(s[1], "://") {
			found = append(found, mention{"link", s[1], document})
		}
	}
	return found
}

func mentionsOfSpan(words []string) []mention {
	var found []mention
	for _, word := range words {
		switch {
		case words[0] == "make":
			if word != "make" && isTarget.MatchString(word) {
				found = append(found, mention{"target", word, ""})
			}
		case isFlag.MatchString(word):
			found = append(found, mention{"flag", isFlag.FindString(word), ""})
		case isMetric.MatchString(word):
			found = append(found, mention{"metric", isMetric.FindString(word), ""})
		case isPath.MatchString(word):
			found = append(found, mention{"path", word, ""})
		case isName.MatchString(word) && !isUpper.MatchString(word):
			found = append(found, mention{"name", word, ""})
		}
	}
	return found
}
