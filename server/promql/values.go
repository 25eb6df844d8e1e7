package promql

import "github.com/prometheus/prometheus/promql"

// What evaluations result in.
type (
	Vector = promql.Vector
	Matrix = promql.Matrix
	Scalar = promql.Scalar
	String = promql.String
	Sample = promql.Sample
	Series = promql.Series
	FPoint = promql.FPoint
	HPoint = promql.HPoint
)
