// Package selection is what a caller asks for, series by their labels, and what it
// may cost to find them.
//
// Guaranteed: matching is Prometheus' own. The size of selectors is known before
// any of them is compiled; evaluations run on so many processors as the limits say,
// their peers in turn, and hold no more memory than the limits say.
//
// Not guaranteed: that matching one value is short. It takes about as long as the
// size of the selectors times the length of the value says.
package selection
