package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// component is something that is linked, with the texts that have to go with it.
type component struct {
	name  string
	texts []string
	// licensed says that there is a licence among the texts.
	licensed bool
}

var (
	legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense|copyright|notice|patents)([.-].*)?$`)
	// notLicense are the legal files that go with a licence and are none.
	notLicense = regexp.MustCompile(`(?i)^(copyright|notice|patents)`)
	// ofPage are the licences that the page is built with.
	ofPage = regexp.MustCompile(`^licenses-\w+\.txt$`)
	// onlyNamed is a licence of which the page's build found no text.
	onlyNamed = regexp.MustCompile(`(?m)^SPDX-License-Identifier: (.*)$`)
	spdx      = regexp.MustCompile(`[A-Za-z0-9][\w.+-]*`)
)

// add adds the module of a package, with what lies in the package's own folder and
// those above: a part of a module may have a licence of its own. Of our own packages
// it adds what they embed of others.
func add(linked map[string]*component, p listed) error {
	switch {
	case p.Standard:
		return nil
	case p.Module == nil:
		return fmt.Errorf("%s is in no module", p.Dir)
	case p.Module.Main:
		return addEmbedded(linked, p)
	}
	name := p.Module.Path + " " + p.Module.Version
	c := linked[name]
	if c == nil {
		c = &component{name: name}
		linked[name] = c
	}
	for folder := p.Dir; ; folder = filepath.Dir(folder) {
		if err := c.addFolder(folder); err != nil {
			return err
		}
		if folder == p.Module.Dir || len(folder) < len(p.Module.Dir) {
			return nil
		}
	}
}

func addEmbedded(linked map[string]*component, p listed) error {
	for _, name := range p.EmbedFiles {
		if !ofPage.MatchString(filepath.Base(name)) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return err
		}
		linked["page"] = &component{name: "The page that servers serve", texts: []string{string(text)}, licensed: true}
	}
	return nil
}

// addNamed adds the texts of the licences that others only name.
func addNamed(linked map[string]*component, texts fs.FS) error {
	named := map[string]bool{}
	for _, c := range linked {
		for _, text := range c.texts {
			for _, found := range onlyNamed.FindAllStringSubmatch(text, -1) {
				for _, id := range spdx.FindAllString(found[1], -1) {
					named[id] = id != "AND" && id != "OR" && id != "WITH"
				}
			}
		}
	}
	for id, is := range named {
		if !is {
			continue
		}
		text, err := fs.ReadFile(texts, id+".txt")
		if err != nil {
			return fmt.Errorf("the text of %s, which a package names: %w", id, err)
		}
		linked[id] = &component{name: "The licence that is named " + id, texts: []string{string(text)}, licensed: true}
	}
	return nil
}

// addFolder adds the legal files of a folder.
func (c *component) addFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() || !legal.MatchString(entry.Name()) || filepath.Ext(entry.Name()) == ".go" {
			continue
		}
		read, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		text := strings.TrimSpace(strings.ReplaceAll(string(read), "\r\n", "\n"))
		if text == "" || slices.Contains(c.texts, text) {
			continue
		}
		c.texts = append(c.texts, text)
		c.licensed = c.licensed || !notLicense.MatchString(entry.Name())
	}
	return nil
}
