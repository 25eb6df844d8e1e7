package merge

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/promgrpc/exporter/internal/cursor"
)

// divide gives each group the positions in its logs. Those of logs that no group has are
// left.
func divide(positions []cursor.Position, groups []Group) (of map[string][]cursor.Position, left []cursor.Position) {
	of = map[string][]cursor.Position{}
	for _, p := range positions {
		i := slices.IndexFunc(groups, func(g Group) bool {
			ids, _ := g.Logs()
			return ids[p.Log]
		})
		if i < 0 {
			left = append(left, p)
			continue
		}
		name := groups[i].Name()
		of[name] = append(of[name], p)
	}
	return of, left
}

var errTooManyLogs = fmt.Errorf("the groups have more logs than the %d that a cursor has places for", cursor.MaxPositions)

// compose makes one cursor of positions in the logs of all groups, nil if there is none: in
// a snapshot of several logs. Where there are too many, those in logs that are gone are let
// go of.
func compose(since *int64, positions []cursor.Position) (*cursor.Cursor, error) {
	slices.SortFunc(positions, func(a, b cursor.Position) int { return bytes.Compare(a.Log[:], b.Log[:]) })
	positions = slices.CompactFunc(positions, func(a, b cursor.Position) bool { return a.Log == b.Log })
	if over := len(positions) - cursor.MaxPositions; over > 0 {
		positions = slices.DeleteFunc(positions, func(p cursor.Position) bool {
			let := p.Gone && over > 0
			if let {
				over--
			}
			return let
		})
	}
	if len(positions) > cursor.MaxPositions {
		return nil, errTooManyLogs
	}
	if len(positions) > 1 && slices.ContainsFunc(positions, isWithinSnapshot) {
		return nil, nil
	}
	return &cursor.Cursor{Positions: positions, Since: since}, nil
}

func isWithinSnapshot(p cursor.Position) bool { return p.SnapshotRef != 0 }

// errSealed is of a server that lets the router see some series only.
var errSealed = errors.New("a server gives the router cursors that only that policy can read: the router needs a credential that may read everything")

// placeOf reads a cursor of a server.
func placeOf(token string) ([]cursor.Position, error) {
	if cursor.IsSealed(token) {
		return nil, errSealed
	}
	c, err := cursor.Parse(token)
	if err != nil {
		return nil, fmt.Errorf("a server's cursor: %w", err)
	}
	return c.Positions, nil
}
