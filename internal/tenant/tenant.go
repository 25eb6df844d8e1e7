// Package tenant says what a sender's tenant may be called, and which label may hold it.
//
// Guaranteed: a tenant that passes has the characters that Mimir, Cortex and Loki allow,
// so it means the same there, and none that would need escaping in a selector, a log line
// or a file name.
package tenant

import (
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/common/model"
)

// Header by which a sender says what its tenant is, in Mimir, Cortex and Loki.
const Header = "X-Scope-OrgID"

const (
	// MaxBytes is the longest tenant, as in Mimir.
	MaxBytes = 150
	// MaxLabelBytes is the longest name of the label.
	MaxLabelBytes = 128
)

// Check says why a tenant cannot be one.
func Check(tenant string) error {
	switch {
	case tenant == "":
		return errors.New("the tenant is empty")
	case len(tenant) > MaxBytes:
		return fmt.Errorf("the tenant has %d bytes, at most are %d", len(tenant), MaxBytes)
	case strings.Contains(tenant, "|"):
		return fmt.Errorf("%q names several tenants, what is written belongs to one", tenant)
	case tenant == ".", tenant == "..":
		return fmt.Errorf("the tenant cannot be %q", tenant)
	}
	for _, r := range tenant {
		if !allowed(r) {
			return fmt.Errorf("the tenant %q has the character %q: letters, digits and ! - _ . * ' ( ) are allowed", tenant, r)
		}
	}
	return nil
}

func allowed(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return true
	}
	return strings.ContainsRune("!-_.*'()", r)
}

// CheckLabel says why a label cannot hold the tenant: it would take the place of one by
// which Prometheus tells series apart.
func CheckLabel(name string) error {
	switch {
	case len(name) > MaxLabelBytes:
		return fmt.Errorf("the label name has %d bytes, at most are %d", len(name), MaxLabelBytes)
	case !model.LegacyValidation.IsValidLabelName(name):
		return fmt.Errorf("%q is no label name: letters, digits and _ are, and no digit comes first", name)
	case strings.HasPrefix(name, model.ReservedLabelPrefix):
		return fmt.Errorf("the label name %q is reserved, as all are that start with %s", name, model.ReservedLabelPrefix)
	case name == model.BucketLabel, name == model.QuantileLabel:
		return fmt.Errorf("the label %q tells the series of a histogram or a summary apart", name)
	}
	return nil
}
