// Package selection is the selectors of a call, and what matching them may cost.
//
// Guaranteed: matching is Prometheus' own. The size of selectors is known before any
// is compiled. Evaluations hold no more processors and memory than the limits say,
// and peers take turns. What a caller is not allowed to see is in no selection of its
// calls.
//
// Not guaranteed: that matching one value is quick, which is not interrupted. It takes
// about the size of the selectors times the length of the value.
package selection
