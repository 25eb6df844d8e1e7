package selection

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/grafana/regexp/syntax"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"
)

// The size of a selector says, before anything is compiled, what compiling it takes:
// one for each matcher and each instruction that a regular expression compiles to.
// Work that leaves no instruction counts as the instructions that cost the same. One
// is about a microsecond, and 200 bytes that stay.
const (
	// runesPerInstruction of a character class, whose ranges are printed and parsed
	// once more.
	runesPerInstruction = 8
	// foldsPerInstruction is how many runes of a character class are checked for other
	// cases of the same letter.
	foldsPerInstruction = 256
	// addedPerInstruction is for how many the other cases are added.
	addedPerInstruction = 64
	// literalsPerInstruction and literalBytesPerInstruction are what is tried to find
	// the few literals that an expression may stand for.
	literalsPerInstruction     = 2
	literalBytesPerInstruction = 4096

	// unicodeClass is the size of the largest class that a name stands for.
	unicodeClass = 1400/runesPerInstruction + allFolds
	// allFolds is the size of the cases of all runes.
	allFolds = (lastFold - firstFold) / foldsPerInstruction
	// The first and the last rune that has another case.
	firstFold, lastFold = 0x41, 0x1e943
)

// selectorSize returns the size of a selector, and stops once it is beyond most. What
// does not parse has no size, as it is not compiled.
func selectorSize(text string, most int64) int64 { return sizeOfStrings(text, false, most) }

// sizeOfStrings is the size of a text by its strings, each of which is a regular
// expression after an operator that takes one, or if all may be one.
func sizeOfStrings(text string, all bool, most int64) int64 {
	var size int64
	expression := all
	lexer := parser.Lex(text)
	for item := (parser.Item{}); size <= most; {
		lexer.NextItem(&item)
		switch item.Typ {
		case parser.EOF, parser.ERROR:
			return size
		case parser.COMMENT:
		case parser.EQL_REGEX, parser.NEQ_REGEX:
			expression = true
		case parser.STRING:
			size++
			if value, err := strutil.Unquote(item.Val); err == nil && expression {
				size += regexpSize(value, most-size)
			}
			expression = all
		default:
			expression = all
		}
	}
	return size
}

// regexpSize returns the size of a regular expression, as selectorSize does.
func regexpSize(text string, most int64) int64 {
	if size := parsingSize(text); size > most {
		return size
	}
	re, err := syntax.Parse(text, syntax.Perl|syntax.DotNL)
	var known *syntax.Error
	switch {
	case errors.As(err, &known) && known.Code == syntax.ErrLarge:
		return most + 1
	case err != nil:
		return 0
	}
	const around = 4 // the anchors, the match, and the failure
	size := around + programSize(re) + classesSize(re)
	if size > most {
		return size
	}
	var l literals
	l.of(re)
	return size + l.tried/literalsPerInstruction + l.bytes/literalBytesPerInstruction
}

// parsingSize is what parsing a regular expression may take beyond its length: named
// classes, and ranges where case does not matter.
func parsingSize(text string) (size int64) {
	fold := foldsCase(text)
	for i := 0; i+1 < len(text); i++ {
		switch next := text[i+1]; text[i] {
		case '\\':
			if next == 'p' || next == 'P' {
				size += unicodeClass
			}
			i++
		case '-':
			if fold {
				size += rangeSize(text[:i], text[i+1:])
			}
		}
	}
	return size
}

// foldsCase says whether a part of a regular expression may have the flag i.
func foldsCase(text string) bool {
	for {
		_, after, ok := strings.Cut(text, "(?")
		if !ok {
			return false
		}
		flags := after[:len(after)-len(strings.TrimLeft(after, "imsU-"))]
		if strings.Contains(flags, "i") {
			return true
		}
		text = after
	}
}

// rangeSize is what a range of runes may take, by the text before and after its dash.
func rangeSize(before, after string) int64 {
	first, _ := utf8.DecodeLastRuneInString(before)
	last, _ := utf8.DecodeRuneInString(after)
	if first < utf8.RuneSelf { // it may be the end of an escape
		first = firstFold
	}
	if last == '\\' && len(after) > 1 && (after[1] == 'x' || '0' <= after[1] && after[1] <= '9') {
		last = lastFold
	}
	return folds(first, last) / addedPerInstruction
}

// folds is how many runes of a range are checked for other cases.
func folds(first, last rune) int64 {
	return int64(max(0, min(last, lastFold)-max(first, firstFold)+1))
}

// programSize returns the most instructions that an expression compiles to.
func programSize(re *syntax.Regexp) int64 {
	var sub int64
	for _, s := range re.Sub {
		sub += programSize(s)
	}
	switch re.Op {
	case syntax.OpLiteral:
		return max(1, int64(len(re.Rune)))
	case syntax.OpCapture, syntax.OpStar:
		return sub + 2
	case syntax.OpPlus, syntax.OpQuest:
		return sub + 1
	case syntax.OpAlternate:
		return sub + int64(len(re.Sub))
	case syntax.OpRepeat:
		if re.Max < 0 {
			return max(1, int64(re.Min))*sub + 2
		}
		return int64(re.Max)*(sub+1) + 1
	}
	return max(1, sub)
}

// classesSize returns the size of the character classes of an expression, each
// counted once, however often it is repeated.
func classesSize(re *syntax.Regexp) (size int64) {
	for _, s := range re.Sub {
		size += classesSize(s)
	}
	if re.Op == syntax.OpCharClass {
		size += int64(len(re.Rune)) / runesPerInstruction
		for i := 0; i+1 < len(re.Rune); i += 2 {
			size += folds(re.Rune[i], re.Rune[i+1]) / foldsPerInstruction
		}
	}
	return size
}

// literals counts what is tried to find the literals that an expression stands for.
// Beyond mostLiterals it is given up, but for each concatenation within the expression
// alone.
type literals struct{ tried, bytes int64 }

const mostLiterals = 256

// choices are the literals that a part of an expression stands for: how many, the
// longest, and what it takes to find them. None means too many.
type choices struct{ n, longest, tried, bytes int64 }

func (l *literals) of(re *syntax.Regexp) choices {
	switch re.Op {
	case syntax.OpLiteral:
		size := int64(len(re.Rune)) * utf8.UTFMax
		return choices{1, size, 1, size}
	case syntax.OpCharClass:
		var n int64
		for i := 0; i+1 < len(re.Rune); i += 2 {
			n += int64(re.Rune[i+1]-re.Rune[i]) + 1
		}
		if n > mostLiterals {
			return choices{}
		}
		return choices{n, utf8.UTFMax, n, n * utf8.UTFMax}
	case syntax.OpCapture:
		return l.of(re.Sub[0])
	case syntax.OpConcat:
		return l.count(l.concatenated(re))
	case syntax.OpAlternate:
		return l.count(l.alternated(re))
	}
	for _, s := range re.Sub {
		l.of(s)
	}
	return choices{n: 1, tried: 1}
}

func (l *literals) count(c choices) choices {
	l.tried += c.tried
	l.bytes += c.bytes
	return c
}

func (l *literals) concatenated(re *syntax.Regexp) choices {
	all := choices{n: 1}
	for _, s := range re.Sub {
		c := l.of(s)
		all.tried += all.n * c.tried
		all.bytes += all.n * (c.bytes + c.tried*all.longest)
		all.longest += c.longest
		if all.n *= c.n; all.n > mostLiterals {
			all.n = 0
		}
	}
	return all
}

func (l *literals) alternated(re *syntax.Regexp) choices {
	var all choices
	none := false
	for _, s := range re.Sub {
		c := l.of(s)
		if none = none || c.n == 0 || all.n+c.n > mostLiterals; none {
			continue
		}
		all = choices{all.n + c.n, max(all.longest, c.longest), all.tried + c.tried, all.bytes + c.bytes}
	}
	if none {
		all.n = 0
	}
	return all
}
