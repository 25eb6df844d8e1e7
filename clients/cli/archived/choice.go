package archived

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Choice is what of a bucket is restored.
type Choice struct {
	// Bucket is its URL.
	Bucket string
	// Logs by the beginnings of their ids; all if there are none.
	Logs []string
	// Since leaves out the segments that were complete before. Zero: none. Given is how it
	// was said, perhaps as a duration: who says the same again means the same time.
	Since time.Time
	Given string
}

// of returns what is chosen of a bucket's logs.
func (c Choice) of(logs []Log) (chosen []Log, err error) {
	found := make([]bool, len(c.Logs))
	for _, log := range logs {
		if wanted := len(c.Logs) == 0; !wanted {
			for i, begin := range c.Logs {
				if strings.HasPrefix(log.ID.String(), begin) {
					found[i], wanted = true, true
				}
			}
			if !wanted {
				continue
			}
		}
		if log.Segments = c.since(log.Segments); len(log.Segments) > 0 {
			chosen = append(chosen, log)
		}
	}
	for i, begin := range c.Logs {
		if !found[i] {
			return nil, fmt.Errorf("the bucket has no log %s", begin)
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("the bucket has nothing of what is to be restored")
	}
	return chosen, nil
}

// since returns the segments that were not complete before: each stands alone.
func (c Choice) since(segments []Segment) []Segment {
	for len(segments) > 0 && segments[0].Modified.Before(c.Since) {
		segments = segments[1:]
	}
	return segments
}
