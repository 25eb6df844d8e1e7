package rule

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	texttemplate "text/template"
	"text/template/parse"

	"github.com/grafana/regexp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/promql"
)

// definitions precede the text of every template, as in Prometheus.
const definitions = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"

// maxSteps of loops that one expansion may do.
const maxSteps = 10000

// maxWidth of a verb of printf.
const maxWidth = 1000

// Functions that are put into a template's text: one before each pass of a loop, one
// after whatever is printed.
const (
	functionStep  = "__step"
	functionPrint = "__print"
)

// text is a template of a label's or an annotation's value.
type text struct {
	name  string // of the label
	value string // instrumented, with the definitions
	plain bool   // value is what it expands to
}

// queries says whether it may evaluate expressions: the name is in its text then.
func (t *text) queries() bool { return !t.plain && strings.Contains(t.value, "query") }

// newText prepares a template that parses. Prometheus trusts its rule files. Here they are
// anybody's, and an expansion cannot be interrupted from outside: so what it does in loops
// and what it prints is counted from within, and what could recurse is refused.
func newText(name, value string, most int64) (text, error) {
	if !strings.Contains(value, "{{") {
		return text{name: name, value: value, plain: true}, nil
	}
	if int64(len(value)) > most {
		return text{}, limit.Over(FlagTemplateSize, "the template of %s has %d bytes, at most %d are allowed", name, len(value), most)
	}
	tree := parse.New(name)
	tree.Mode = parse.SkipFuncCheck
	all := map[string]*parse.Tree{}
	tree, err := tree.Parse(definitions+value, "{{", "}}", all)
	if err != nil {
		return text{}, fmt.Errorf("template of %s: %w", name, err)
	}
	if len(all) > 1 || !instrument(tree.Root) {
		return text{}, fmt.Errorf("template of %s: define, block and template are not evaluated here", name)
	}
	return text{name: name, value: tree.Root.String()}, nil
}

// instrument adds the calls that count to a list, and says whether it could.
func instrument(l *parse.ListNode) bool {
	if l == nil {
		return true
	}
	for _, n := range l.Nodes {
		ok := true
		switch n := n.(type) {
		case *parse.ActionNode:
			if len(n.Pipe.Decl) == 0 {
				n.Pipe.Cmds = append(n.Pipe.Cmds, callOf(functionPrint))
			}
		case *parse.IfNode:
			ok = instrument(n.List) && instrument(n.ElseList)
		case *parse.WithNode:
			ok = instrument(n.List) && instrument(n.ElseList)
		case *parse.RangeNode:
			ok = instrument(n.List) && instrument(n.ElseList)
			n.List.Nodes = append([]parse.Node{step(n.List)}, n.List.Nodes...)
		case *parse.TemplateNode:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

func callOf(name string, args ...parse.Node) *parse.CommandNode {
	return &parse.CommandNode{NodeType: parse.NodeCommand, Args: append([]parse.Node{parse.NewIdentifier(name)}, args...)}
}

// step counts a pass of a loop, with the text that it prints.
func step(body *parse.ListNode) *parse.ActionNode {
	size := textSize(body)
	number := &parse.NumberNode{NodeType: parse.NodeNumber, IsInt: true, Int64: size, Text: strconv.FormatInt(size, 10)}
	return &parse.ActionNode{NodeType: parse.NodeAction, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Cmds: []*parse.CommandNode{callOf(functionStep, number)},
	}}
}

// textSize is how much text a list has, outside of loops within it.
func textSize(l *parse.ListNode) (size int64) {
	if l == nil {
		return 0
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			size += int64(len(n.Text))
		case *parse.IfNode:
			size += textSize(n.List) + textSize(n.ElseList)
		case *parse.WithNode:
			size += textSize(n.List) + textSize(n.ElseList)
		case *parse.RangeNode:
			size += textSize(n.ElseList)
		}
	}
	return size
}

// expansion is what the templates of one alert have in common.
type expansion struct {
	ctx            context.Context
	rule           string
	sample         promql.Sample
	labels         map[string]string
	externalLabels map[string]string
	externalURL    *url.URL
	at             int64 // ms
	most           int64 // bytes that one may print
	query          template.QueryFunc
	// pattern returns an error for a regular expression that is too large.
	pattern func(context.Context, string) error
}

func newExpansion(ctx context.Context, rule string, s promql.Sample) *expansion {
	if s.H != nil {
		s.H = s.H.Copy() // Templates may call methods that change it.
	}
	return &expansion{ctx: ctx, rule: rule, sample: s, labels: s.Metric.Map()}
}

// expand returns what a template comes to. What fails is said in its place.
func (x *expansion) expand(t text) string {
	if t.plain {
		return t.value
	}
	data := template.AlertTemplateData(x.labels, x.externalLabels, x.externalURL.String(), x.sample)
	e := template.NewTemplateExpander(x.ctx, t.value, "__alert_"+x.rule, data, model.Time(x.at), x.query, x.externalURL, nil)
	e.Funcs((&meter{ctx: x.ctx, most: x.most, pattern: x.pattern}).functions())
	result, err := e.Expand()
	if err == nil && int64(len(result)) > x.most {
		err = tooLong(x.most)
	}
	if err != nil {
		return fmt.Sprintf("<error expanding template: %s>", err)
	}
	return result
}

func tooLong(most int64) error {
	return limit.Over(FlagTemplateSize, "the template prints more than %d bytes", most)
}

// meter counts what one template does.
type meter struct {
	ctx            context.Context
	most           int64
	printed, steps int64
	worked         int64 // bytes that functions came to
	pattern        func(context.Context, string) error
}

// functions replace those of Go and of Prometheus that could take more than they are given.
func (m *meter) functions() texttemplate.FuncMap {
	return texttemplate.FuncMap{
		functionStep:     m.step,
		functionPrint:    m.print,
		"print":          func(args ...any) (string, error) { return m.short(fmt.Sprint(args...)) },
		"println":        func(args ...any) (string, error) { return m.short(fmt.Sprintln(args...)) },
		"printf":         m.printf,
		"html":           func(args ...any) (string, error) { return m.short(texttemplate.HTMLEscaper(args...)) },
		"js":             func(args ...any) (string, error) { return m.short(texttemplate.JSEscaper(args...)) },
		"urlquery":       func(args ...any) (string, error) { return m.short(texttemplate.URLQueryEscaper(args...)) },
		"reReplaceAll":   m.replaceAll,
		"match":          m.match,
		"toUpper":        m.text(strings.ToUpper),
		"toLower":        m.text(strings.ToLower),
		"graphLink":      m.text(strutil.GraphLinkForExpression),
		"tableLink":      m.text(strutil.TableLinkForExpression),
		"urlQueryEscape": m.text(url.QueryEscape),
	}
}

// text bounds what a function of a text comes to.
func (m *meter) text(of func(string) string) func(string) (string, error) {
	return func(s string) (string, error) { return m.short(of(s)) }
}

// maxWork is how many times what a template may print its functions may come to.
const maxWork = 100

// short is a text that a function came to, if that is not too much.
func (m *meter) short(s string) (string, error) {
	m.worked += int64(len(s))
	switch {
	case int64(len(s)) > m.most:
		return "", tooLong(m.most)
	case m.worked > maxWork*m.most:
		return "", fmt.Errorf("its functions come to more than %d bytes", maxWork*m.most)
	}
	return s, m.ctx.Err()
}

// step counts a pass of a loop, which prints so much text.
func (m *meter) step(size int64) (string, error) {
	m.steps++
	m.printed += size
	switch {
	case m.steps > maxSteps:
		return "", fmt.Errorf("the loops have more than %d passes", maxSteps)
	case m.printed > m.most:
		return "", tooLong(m.most)
	}
	return "", m.ctx.Err()
}

// print counts what is printed, and passes it on.
func (m *meter) print(v any) (any, error) {
	if k := reflect.ValueOf(v).Kind(); k == reflect.Slice {
		return nil, errors.New("the result of a query cannot be printed: take its first, or range over it")
	}
	m.printed += int64(len(fmt.Sprint(v)))
	if m.printed > m.most {
		return nil, tooLong(m.most)
	}
	return v, nil
}

func (m *meter) printf(format string, args ...any) (string, error) {
	for _, verb := range strings.Split(format, "%")[1:] {
		flags := verb[:len(verb)-len(strings.TrimLeft(verb, "+-# 0123456789.[]*"))]
		if strings.Contains(flags, "*") {
			return "", errors.New("printf: * is not evaluated here")
		}
		for _, number := range strings.FieldsFunc(flags, func(c rune) bool { return c < '0' || c > '9' }) {
			if n, err := strconv.Atoi(number); err != nil || n > maxWidth {
				return "", fmt.Errorf("printf: a width is above %d", maxWidth)
			}
		}
	}
	return m.short(fmt.Sprintf(format, args...))
}

// replaceAll is ReplaceAllString of a result that is bounded.
func (m *meter) replaceAll(pattern, with, in string) (string, error) {
	if err := m.pattern(m.ctx, pattern); err != nil {
		return "", err
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", err
	}
	var out []byte
	end := 0
	for _, match := range re.FindAllStringSubmatchIndex(in, -1) {
		out = append(out, in[end:match[0]]...)
		out = re.ExpandString(out, with, in, match)
		end = match[1]
		if int64(len(out)) > m.most {
			return "", tooLong(m.most)
		}
	}
	return m.short(string(append(out, in[end:]...)))
}

func (m *meter) match(pattern, in string) (bool, error) {
	if err := m.pattern(m.ctx, pattern); err != nil {
		return false, err
	}
	return regexp.MatchString(pattern, in)
}

// texts of labels, sorted by name.
func newTexts(values map[string]string, most int64) ([]text, error) {
	sorted := labels.FromMap(values)
	texts := make([]text, 0, len(values))
	err := sorted.Validate(func(l labels.Label) error {
		t, err := newText(l.Name, l.Value, most)
		texts = append(texts, t)
		return err
	})
	return texts, err
}
