package promql

import (
	"strings"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promgrpc/exporter/internal/limit"
)

// mostGrowth is how many times as long an expression may make labels, by functions that
// write some of them several times.
const mostGrowth = 1024

// growthOf is how many times as long labels become at most.
func growthOf(node parser.Node) float64 {
	growth := 1.0
	for child := range parser.ChildrenIter(node) {
		growth = max(growth, growthOf(child))
	}
	call, ok := node.(*parser.Call)
	if !ok {
		return growth
	}
	switch call.Func.Name {
	case "label_replace":
		if text, ok := unwrapped(call.Args[2]).(*parser.StringLiteral); ok {
			growth *= 1 + float64(strings.Count(text.Val, "$"))
		}
	case "label_join":
		growth *= float64(len(call.Args))
	}
	return growth
}

// checkGrowth checks how much longer an expression may make labels.
func checkGrowth(growth float64) error {
	if growth > mostGrowth {
		return limit.Over(FlagOperations, "label_replace and label_join, one within the other, may make labels more than %d times as long", mostGrowth)
	}
	return nil
}
