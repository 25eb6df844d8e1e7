package receiver

import (
	"errors"
	"fmt"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

// outcome is what became of the part of a request that went to a group.
type outcome struct {
	group   string
	verdict *linkv1.Verdict
	err     error // in place of it
}

// passes says whether the part is to be sent again.
func (o *outcome) passes() bool {
	switch o.verdict.GetCode() {
	case linkv1.Code_CODE_OK, linkv1.Code_CODE_INVALID, linkv1.Code_CODE_TOO_LARGE:
		return false
	}
	return true
}

// merge makes one of what became of the parts of a request. The worst counts: what has to
// be sent again, which all of it is then, before what is invalid. Those that are stored
// already are recognised when they come again.
func merge(all []outcome) (*linkv1.Verdict, error) {
	if len(all) == 1 {
		return all[0].verdict, all[0].err
	}
	var passing []error
	sum := &linkv1.Verdict{Code: linkv1.Code_CODE_OK}
	tooLarge := 0
	for i := range all {
		o := &all[i]
		v := o.verdict
		switch {
		case o.err != nil:
			passing = append(passing, fmt.Errorf("group %s: %w", o.group, o.err))
			continue
		case o.passes():
			passing = append(passing, fmt.Errorf("group %s: %s", o.group, describe(v)))
			continue
		case v.GetCode() == linkv1.Code_CODE_TOO_LARGE:
			tooLarge++
			sum.Errors = append(sum.Errors, fmt.Sprintf("group %s: %s", o.group, describe(v)))
		case len(v.GetErrors()) > 0:
			for _, err := range v.GetErrors() {
				sum.Errors = append(sum.Errors, fmt.Sprintf("group %s: %s", o.group, err))
			}
		}
		if v.GetCode() != linkv1.Code_CODE_OK {
			sum.Code = linkv1.Code_CODE_INVALID
		}
		sum.SamplesWritten += v.GetSamplesWritten()
		sum.HistogramsWritten += v.GetHistogramsWritten()
		sum.ExemplarsWritten += v.GetExemplarsWritten()
		sum.Rejected += v.GetRejected()
	}
	if len(passing) > 0 {
		return nil, errors.Join(passing...)
	}
	if tooLarge == len(all) {
		sum.Code = linkv1.Code_CODE_TOO_LARGE
	}
	return sum, nil
}
