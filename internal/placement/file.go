package placement

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/promgrpc/exporter/internal/strictyaml"
)

// Flag names the groups file.
const Flag = "--groups.file"

// File is what a groups file says.
type File struct {
	// Groups, sorted by name.
	Groups []Group
	// Placement of series in them. Nil: they are pipelines as they are, which a router
	// reads as one.
	Placement *Placement
}

// Group is a group of it.
type Group struct {
	Name string
	// Forwarders and Servers are addresses in the syntax of package discovery, "" where
	// the file has none.
	Forwarders, Servers string
	// Line where it stands.
	Line int
}

// Group returns the group of a name.
func (f *File) Group(name string) (Group, bool) {
	i, has := slices.BinarySearchFunc(f.Groups, name, func(g Group, name string) int {
		return cmp.Compare(g.Name, name)
	})
	if !has {
		return Group{}, false
	}
	return f.Groups[i], true
}

type (
	document struct {
		Version text               `yaml:"version"`
		Spread  *spreadText        `yaml:"spread"`
		Groups  map[text]groupText `yaml:"groups"`
		Epochs  []epochText        `yaml:"epochs"`
	}
	spreadText struct {
		Labels []text           `yaml:"labels"`
		Sender *strictyaml.Flag `yaml:"sender"`
		Tenant *strictyaml.Flag `yaml:"tenant"`
	}
	groupText struct {
		Forwarders text `yaml:"forwarders"`
		Servers    text `yaml:"servers"`
	}
	epochText struct {
		From   *text  `yaml:"from"`
		Groups []text `yaml:"groups"`
	}
	text = strictyaml.Text
)

// ParseFile reads a groups file. An error says the line.
func ParseFile(in []byte) (*File, error) {
	var d document
	if err := strictyaml.Decode(in, &d); err != nil {
		return nil, err
	}
	f := &File{}
	if err := f.addGroups(d.Groups); err != nil {
		return nil, err
	}
	switch {
	case d.Spread == nil && d.Version.Line > 0:
		return nil, d.Version.At("version", errors.New("it is of spread, which is missing"))
	case d.Spread == nil && len(d.Epochs) > 0:
		return nil, errors.New("epochs: they are of spread, which is missing")
	case d.Spread == nil:
		return f, nil
	}
	return f, f.place(&d)
}

func (f *File) addGroups(groups map[text]groupText) error {
	if len(groups) == 0 {
		return errors.New("groups: there are none")
	}
	for name, g := range groups {
		field := "groups." + name.Value
		switch err := checkName(name.Value); {
		case err != nil:
			return name.At("groups", err)
		case g.Forwarders.Line == 0 && g.Servers.Line == 0:
			return name.At(field, errors.New("it has neither forwarders nor servers"))
		}
		f.Groups = append(f.Groups, Group{name.Value, g.Forwarders.Value, g.Servers.Value, name.Line})
	}
	slices.SortFunc(f.Groups, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// place makes the placement.
func (f *File) place(d *document) error {
	version, err := strconv.ParseUint(d.Version.Value, 10, 63)
	if err != nil || version == 0 {
		return d.Version.At("version", errors.New("want a whole number from 1 on, which grows with every change"))
	}
	by, labels, err := d.Spread.read()
	if err != nil {
		return err
	}
	if len(d.Epochs) == 0 {
		return errors.New("epochs: they are missing")
	}
	var epochs []Epoch
	for i := range d.Epochs {
		e, err := d.Epochs[i].read(fmt.Sprintf("epochs[%d]", i), epochs)
		if err != nil {
			return err
		}
		epochs = append(epochs, e)
	}
	// Those of epochs before may be gone.
	for i, name := range d.Epochs[len(epochs)-1].Groups {
		if _, has := f.Group(name.Value); !has {
			return name.At(fmt.Sprintf("epochs[%d].groups[%d]", len(epochs)-1, i), fmt.Errorf("groups has no %s", name.Value))
		}
	}
	f.Placement, err = New(version, by, labels, epochs)
	return err
}

// read returns what decides.
func (s *spreadText) read() (by Spread, labels []string, err error) {
	ways := 0
	for _, way := range []struct {
		set bool
		by  Spread
	}{{len(s.Labels) > 0, ByLabels}, {s.Sender.IsSet(), BySender}, {s.Tenant.IsSet(), ByTenant}} {
		if way.set {
			by, ways = way.by, ways+1
		}
	}
	if ways != 1 {
		return 0, nil, errors.New("spread: want one of labels, sender: true, and tenant: true")
	}
	for i, t := range s.Labels {
		if err := checkLabel(t.Value); err != nil {
			return 0, nil, t.At(fmt.Sprintf("spread.labels[%d]", i), err)
		}
		if slices.Contains(labels, t.Value) {
			return 0, nil, t.At(fmt.Sprintf("spread.labels[%d]", i), fmt.Errorf("%s is there twice", t.Value))
		}
		labels = append(labels, t.Value)
	}
	slices.Sort(labels)
	return by, labels, nil
}

// read returns an epoch that comes after others.
func (t *epochText) read(field string, before []Epoch) (Epoch, error) {
	e := Epoch{From: Ever}
	var where text
	if t.From != nil {
		where = *t.From
		from, err := time.Parse(time.RFC3339, t.From.Value)
		if err != nil || from.Nanosecond()%int(time.Millisecond) != 0 {
			return e, where.At(field+".from", errors.New("want a time such as 2026-12-01T12:00:00Z, of whole milliseconds at most"))
		}
		e.From = from.UnixMilli()
	}
	for i, name := range t.Groups {
		if where.Line == 0 {
			where = name
		}
		if slices.Contains(e.Groups, name.Value) {
			return e, name.At(fmt.Sprintf("%s.groups[%d]", field, i), fmt.Errorf("%s is there twice", name.Value))
		}
		e.Groups = append(e.Groups, name.Value)
	}
	slices.Sort(e.Groups)
	if err := checkEpoch(before, e); err != nil {
		return e, where.At(field, err)
	}
	return e, nil
}
