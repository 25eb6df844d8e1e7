package plan

import "github.com/promgrpc/exporter/internal/layout"

// What the objects are called, and which there are of a segment.
type (
	Object = layout.Object
	Piece  = layout.Piece
)

var (
	ParseName  = layout.ParseName
	Chain      = layout.Chain
	LeaseName  = layout.LeaseName
	ParseLease = layout.ParseLease
)
