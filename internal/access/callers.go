package access

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/promgrpc/exporter/internal/renew"
)

// callers notes whose policy it is.
func (p *parser) callers(t *policyText, policy *Policy, field string) error {
	for i, file := range t.TokenFiles {
		field := fmt.Sprintf("%s.token_files[%d]", field, i)
		token, err := renew.Token(p.file(file))
		if failed := new(os.PathError); err != nil && !errors.As(err, &failed) {
			err = errors.New("want a token of printable ASCII")
		}
		if err != nil {
			return file.At(field, withoutPath(err))
		}
		if err := p.token(sha256.Sum256([]byte(token)), policy, file, field); err != nil {
			return err
		}
	}
	for i, sum := range t.TokenSHA256 {
		field := fmt.Sprintf("%s.token_sha256[%d]", field, i)
		b, err := hex.DecodeString(sum.Value)
		if err != nil || len(b) != sha256.Size {
			return sum.At(field, fmt.Errorf("want %d hexadecimal digits, as of printf %%s TOKEN | sha256sum", 2*sha256.Size))
		}
		if err := p.token([sha256.Size]byte(b), policy, sum, field); err != nil {
			return err
		}
	}
	for i, user := range t.Users {
		if err := p.once("user", user, fmt.Sprintf("%s.users[%d]", field, i)); err != nil {
			return err
		}
		p.state.users[user.Value] = policy
	}
	for i, pattern := range t.Certificates {
		if err := p.once("name", pattern, fmt.Sprintf("%s.certificates[%d]", field, i)); err != nil {
			return err
		}
	}
	names, err := patterns(t.Certificates, field+".certificates")
	if err != nil {
		return err
	}
	p.state.certificates = append(p.state.certificates, certificates{names, policy})
	if t.Anonymous.IsSet() {
		if err := p.once("caller without a credential", text{Line: t.Anonymous.Line}, field+".anonymous"); err != nil {
			return err
		}
		p.state.anonymous = policy
	}
	return nil
}

func (p *parser) token(sum [sha256.Size]byte, policy *Policy, t text, field string) error {
	if p.state.tokens[sum] == policy {
		return nil // as while one is being replaced
	}
	if err := p.once("token", text{Value: string(sum[:]), Line: t.Line}, field); err != nil {
		return err
	}
	p.state.tokens[sum] = policy
	return nil
}

// once is an error for what was there before: what one caller may do has to be clear.
func (p *parser) once(kind string, t text, field string) error {
	if first, twice := p.lines[kind+" "+t.Value]; twice {
		return t.At(field, fmt.Errorf("line %d has this %s already", first, kind))
	}
	p.lines[kind+" "+t.Value] = t.Line
	return nil
}
