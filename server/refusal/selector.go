package refusal

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/server/selection"
)

// maxAround is how many characters before and after the position are quoted: errors
// travel in trailers, for which balancers have some KiB, and in which a character may
// take nine bytes.
const maxAround = 80

const more = '…' // stands for what is left out

// invalidSelector shows the selector and points at the position. If the text is another
// kind of expression, it says what a selector is.
func invalidSelector(s *selection.SyntaxError) error {
	reason := daemon.Excerpt(s.Reason)
	line, caret := pointAt(s.Text, s.Start)
	message := fmt.Sprintf("selector %d does not parse: %s\n  %s\n  %s", s.Selector+1, reason, line, caret)
	if s.Expression {
		message += "\n" + whatSelects
		reason += "; " + whatSelects
	}
	violation := &errdetails.BadRequest_FieldViolation{Field: fmt.Sprintf("selectors[%d]", s.Selector), Description: reason}
	return Invalid(message,
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{violation}},
		&metricsv1.InvalidSelector{Index: uint32(s.Selector), Start: uint32(s.Start), End: uint32(s.End)})
}

const whatSelects = `a selector is a metric name, matchers in braces, or both, such as up{job="node"}; ` +
	"functions, operators, ranges and offsets are not evaluated"

// pointAt returns the part of a line of text around a byte, and a line with a caret
// below that byte's character.
func pointAt(text string, position int) (line, caret string) {
	position = min(max(position, 0), len(text))
	start := strings.LastIndexByte(text[:position], '\n') + 1
	line, _, _ = strings.Cut(text[start:], "\n")
	shown := []rune(strings.ReplaceAll(strings.ToValidUTF8(line, "�"), "\t", " "))
	column := min(utf8.RuneCountInString(strings.ToValidUTF8(text[start:position], "�")), len(shown))
	if len(shown) > column+maxAround {
		shown = append(shown[:column+maxAround], more)
	}
	if column > maxAround {
		shown = append([]rune{more}, shown[column-maxAround:]...)
		column = maxAround + 1
	}
	return string(shown), strings.Repeat(" ", column) + "^"
}
