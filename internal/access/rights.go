package access

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/alecthomas/units"
)

// readRights returns what a policy may read.
func (p *parser) readRights(t *readText, field string) (*Read, error) {
	r := &Read{Logs: t.Logs.isSet(), Status: t.Status.isSet()}
	if len(t.Selectors) > 0 {
		if err := p.selectors(r, t.Selectors, field); err != nil {
			return nil, err
		}
	}
	if t.Streams.line > 0 {
		n, err := strconv.ParseInt(t.Streams.value, 10, 32)
		if err != nil || n < 1 {
			return nil, at(t.Streams, field+".streams", errors.New("want a whole number above zero"))
		}
		r.Streams = n
	}
	if t.Memory.line > 0 {
		n, err := units.ParseBase2Bytes(t.Memory.value)
		if err != nil || n < 1 {
			return nil, at(t.Memory, field+".memory", errors.New("want a size above zero, such as 64MiB"))
		}
		r.Memory = int64(n)
	}
	return r, nil
}

func (p *parser) selectors(r *Read, texts []text, field string) error {
	first := texts[0]
	switch {
	case r.Logs:
		return at(first, field, errors.New("logs have all series, so they cannot be allowed together with selectors"))
	case len(p.state.keys) == 0:
		return at(first, field+".selectors", errors.New("cursor_key_files is needed as well: a cursor would tell of other series"))
	case len(texts) > mostSelectors:
		return at(first, field+".selectors", fmt.Errorf("there are more than %d", mostSelectors))
	}
	for _, t := range texts {
		r.Selectors = append(r.Selectors, t.value)
	}
	return nil
}
