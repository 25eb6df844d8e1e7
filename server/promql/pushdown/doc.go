// Package pushdown splits an expression of PromQL into what groups of series can each
// evaluate for themselves, the leaves, and what a router makes of their results.
//
// Guaranteed: where no series is in two groups, and none moves between them within what
// the expression reads, the router comes to what one engine with all series comes to, bit
// by bit but for sums and averages. Those differ by the order in which floats are added:
// by at most 2^-50 of the sum of the absolute values for each group. They are the same at
// every router, since groups are added in the order of their names. Where results show
// that this does not hold, [ErrWhole] says that the expression has to be evaluated whole:
// for native histograms in sums, sums that are infinite, zeros of different signs or NaNs
// of different bits among which min and max choose, equals among which topk and sort
// choose, and series that several groups result in.
//
// Not guaranteed: an error where series of different groups have the same labels but for
// __type__ or __unit__, which functions drop with the name. What is computed of a sum
// differs by what its last bits make of it: a comparison, for instance.
package pushdown
