package access

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/alecthomas/units"
)

// readRights returns what a policy may read.
func (p *parser) readRights(t *readText, field string) (*Read, error) {
	r := &Read{Logs: t.Logs.IsSet(), Status: t.Status.IsSet()}
	if len(t.Selectors) > 0 {
		if err := p.selectors(r, t.Selectors, field); err != nil {
			return nil, err
		}
	}
	if t.Streams.Line > 0 {
		n, err := strconv.ParseInt(t.Streams.Value, 10, 32)
		if err != nil || n < 1 {
			return nil, t.Streams.At(field+".streams", errors.New("want a whole number above zero"))
		}
		r.Streams = n
	}
	if t.Memory.Line > 0 {
		n, err := units.ParseBase2Bytes(t.Memory.Value)
		if err != nil || n < 1 {
			return nil, t.Memory.At(field+".memory", errors.New("want a size above zero, such as 64MiB"))
		}
		r.Memory = int64(n)
	}
	return r, nil
}

func (p *parser) selectors(r *Read, texts []text, field string) error {
	first := texts[0]
	switch {
	case r.Logs:
		return first.At(field, errors.New("logs have all series, so they cannot be allowed together with selectors"))
	case len(p.state.keys) == 0:
		return first.At(field+".selectors", errors.New("cursor_key_files is needed as well: a cursor would tell of other series"))
	case len(texts) > mostSelectors:
		return first.At(field+".selectors", fmt.Errorf("there are more than %d", mostSelectors))
	}
	for _, t := range texts {
		r.Selectors = append(r.Selectors, t.Value)
	}
	return nil
}
