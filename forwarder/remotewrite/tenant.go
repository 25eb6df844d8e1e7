package remotewrite

import (
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/tenant"
)

// ownership is the label that says whose the series of a request are. The zero value is
// nobody's.
type ownership struct {
	label segment.Label
	// key is mixed into that of every series: labels that two tenants spell alike are
	// those of two series. Zero for nobody's.
	key Key
}

func (o *ownership) none() bool { return o.label.Name == "" }

// SetTenant gives every series of the next requests a label, in place of what their
// bodies have under its name; nil is none. Metadata has no tenant: it is of the name.
func (r *Request) SetTenant(l *segment.Label) error {
	if l == nil {
		r.tenant = ownership{}
		return nil
	}
	if err := tenant.CheckLabel(l.Name); err != nil {
		return err
	}
	if err := tenant.Check(l.Value); err != nil {
		return err
	}
	if err := checkLabel(r.limits, []byte(l.Name), []byte(l.Value)); err != nil {
		return err
	}
	// No labels start like this, so no series has the key.
	r.wire = segment.AppendLabel(append(r.wire[:0], 0), l.Name, l.Value)
	r.tenant = ownership{*l, KeyOf(r.wire)}
	return nil
}

// addTenant copies the row of the series at hand, with the tenant in place of what the
// series has under its name.
func (r *Request) addTenant() error {
	d, own := &r.dictionary, r.tenant.label
	d.sorted = d.sorted[:0]
	for _, index := range d.row {
		if l := &d.labels[index]; l.Name == own.Name {
			d.bytes -= len(l.Name) + len(l.Value)
			continue
		}
		d.sorted = append(d.sorted, index)
	}
	if len(d.sorted) >= r.limits.Labels {
		return r.manyLabels
	}
	if d.tenant == 0 {
		l, err := r.newLabel([]byte(own.Name), []byte(own.Value))
		if err != nil {
			return err
		}
		d.tenant = d.append(l) + 1
	}
	d.bytes += len(own.Name) + len(own.Value)
	d.sorted = append(d.sorted, d.tenant-1)
	return nil
}
