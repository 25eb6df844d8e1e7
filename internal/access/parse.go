package access

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/identity"
	"github.com/promgrpc/exporter/internal/strictyaml"
	"github.com/promgrpc/exporter/internal/tenant"
)

const (
	mostKeys      = 8
	mostName      = 64
	mostSelectors = 64
)

// parser makes a state of a document.
type parser struct {
	folder  string // that paths are relative to
	prepare func(*Policy) (any, error)
	state   *state
	named   []string // files, also those that cannot be read
	names   map[string]int
	// lines is where each token, user and pattern of a certificate stands.
	lines map[string]int
}

// parse reads an access file and the files that it names, which are also returned with
// an error.
func parse(in []byte, path string, prepare func(*Policy) (any, error)) (_ *state, named []string, _ error) {
	var d document
	if err := strictyaml.Decode(in, &d); err != nil {
		return nil, nil, err
	}
	p := &parser{
		folder: filepath.Dir(path), prepare: prepare,
		state: &state{roles: map[Role]identity.Names{}, tokens: map[[sha256.Size]byte]*Policy{}, users: map[string]*Policy{}},
		names: map[string]int{}, lines: map[string]int{},
	}
	err := p.document(&d)
	return p.state, p.named, err
}

func (p *parser) document(d *document) error {
	for _, r := range []struct {
		role  Role
		names []text
	}{{Receiver, d.Roles.Receiver}, {Forwarder, d.Roles.Forwarder}, {Server, d.Roles.Server}, {Proxy, d.Roles.Proxy}} {
		names, err := patterns(r.names, "roles."+string(r.role))
		if err != nil {
			return err
		}
		p.state.roles[r.role] = names
	}
	var errs []error
	if len(d.CursorKeyFiles) > mostKeys {
		return d.CursorKeyFiles[mostKeys].At("cursor_key_files", fmt.Errorf("there are more than %d", mostKeys))
	}
	for i, file := range d.CursorKeyFiles {
		key, err := readKey(p.file(file))
		if err != nil {
			errs = append(errs, file.At(fmt.Sprintf("cursor_key_files[%d]", i), err))
		}
		p.state.keys = append(p.state.keys, key)
	}
	for i := range d.Policies {
		if err := p.policy(&d.Policies[i], fmt.Sprintf("policies[%d]", i)); err != nil {
			errs = append(errs, err)
		}
	}
	if len(p.state.policies) > 0 && len(p.state.roles[Server]) > 0 {
		if err := p.servers(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// servers makes the policy of servers. No other one can have its name.
func (p *parser) servers() (err error) {
	policy := &Policy{Name: "role " + string(Server), Read: &Read{Logs: true, Status: true}}
	policy.Prepared, err = p.prepare(policy)
	p.state.servers = policy
	return err
}

func patterns(texts []text, field string) (identity.Names, error) {
	var names identity.Names
	for i, t := range texts {
		one := identity.Names{t.Value}
		if err := one.Check(); err != nil {
			return nil, t.At(fmt.Sprintf("%s[%d]", field, i), err)
		}
		names = append(names, t.Value)
	}
	return names, nil
}

// file notes a file that is named, relative to the access file.
func (p *parser) file(t text) string {
	path := t.Value
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.folder, path)
	}
	p.named = append(p.named, path)
	return path
}

// policy adds a policy to the state.
func (p *parser) policy(t *policyText, field string) error {
	if err := p.name(t.Name, field+".name"); err != nil {
		return err
	}
	policy := &Policy{Name: t.Name.Value}
	p.state.policies = append(p.state.policies, policy)
	if t.TokenFiles == nil && t.TokenSHA256 == nil && t.Users == nil && t.Certificates == nil && !t.Anonymous.IsSet() {
		return t.Name.At(field, errors.New("it is nobody's: it needs token_files, token_sha256, users, certificates, or anonymous: true"))
	}
	if t.Read == nil && t.Write == nil {
		return t.Name.At(field, errors.New("it allows nothing: it needs read or write"))
	}
	if err := p.callers(t, policy, field); err != nil {
		return err
	}
	var err error
	if t.Read != nil {
		if policy.Read, err = p.readRights(t.Read, field+".read"); err != nil {
			return err
		}
		if policy.Prepared, err = p.prepare(policy); err != nil {
			return t.Name.At(field+".read", err)
		}
	}
	if t.Write != nil {
		policy.Write = &Write{Tenant: t.Write.Tenant.Value}
		if t.Write.Tenant.Line > 0 {
			if err := tenant.Check(t.Write.Tenant.Value); err != nil {
				return t.Write.Tenant.At(field+".write.tenant", err)
			}
		}
	}
	return nil
}

func (p *parser) name(name text, field string) error {
	switch first, twice := p.names[name.Value]; {
	case name.Value == "":
		return name.At(field, errors.New("it is missing"))
	case len(name.Value) > mostName || strings.ContainsFunc(name.Value, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' && r != '.'
	}):
		return name.At(field, fmt.Errorf("want %d letters, digits, and -_. at most", mostName))
	case twice:
		return name.At(field, fmt.Errorf("line %d has a policy of this name", first))
	}
	p.names[name.Value] = name.Line
	return nil
}

// readKey reads 32 bytes as base64.
func readKey(path string) (key cursor.Key, err error) {
	b, err := readFile(path)
	if err != nil {
		return key, withoutPath(err)
	}
	b, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(b) != cursor.KeySize {
		return key, fmt.Errorf("want %d bytes as base64, as of openssl rand -base64 %d", cursor.KeySize, cursor.KeySize)
	}
	return cursor.Key(b), nil
}

// withoutPath leaves the path out of an error, since somebody may have written a secret
// there. The line says which it is.
func withoutPath(err error) error {
	var failed *os.PathError
	if errors.As(err, &failed) {
		return fmt.Errorf("cannot %s the file: %w", failed.Op, failed.Err)
	}
	return err
}
