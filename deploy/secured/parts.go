package main

import (
	"bytes"
	"embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"text/template"

	"github.com/promgrpc/exporter/internal/private"
)

// part of the deployment, and what its folder has beside its certificate, its key and
// the authority's certificate: files by their names, with the templates and the secrets
// that they are made from.
type part struct {
	name             string
	configs, secrets map[string]string
}

// configs are those of all parts. The names of secrets in them are those of files.
//
//go:embed configs
var configs embed.FS

var parts = []part{
	{
		"receiver",
		map[string]string{"web.yml": "senders.yml", "access.yml": "access.yml"},
		map[string]string{"consul.token": "consul-receiver.token"},
	}, {
		"forwarder",
		map[string]string{"web.yml": "ops.yml", "link.yml": "callers.yml", "access.yml": "access.yml"},
		map[string]string{"consul.token": "consul-forwarder.token"},
	}, {
		"server",
		map[string]string{"web.yml": "ops.yml", "link.yml": "callers.yml", "rpc.yml": "callers.yml", "access.yml": "access.yml"},
		map[string]string{"consul.token": "consul-server.token"},
	}, {
		"haproxy",
		nil,
		map[string]string{"admin.password": "admin.password"},
	}, {
		"consul",
		map[string]string{"secured.hcl": "consul.hcl"},
		map[string]string{
			"management.token": "consul-management.token", "dns.token": "consul-dns.token", "receiver.token": "consul-receiver.token",
			"forwarder.token": "consul-forwarder.token", "server.token": "consul-server.token", "prometheus.token": "consul-prometheus.token",
		},
	}, {
		"prometheus",
		map[string]string{"web.yml": "admin.yml"},
		map[string]string{"prometheus.password": "prometheus.password", "consul.token": "consul-prometheus.token"},
	}, {
		"client",
		nil,
		map[string]string{"operator.token": "operator.token"},
	},
}

// part writes the folder of a part.
func (o *options) part(p part, s secrets) error {
	dir := filepath.Join(o.dir, p.name)
	if err := private.MkdirAll(dir); err != nil {
		return err
	}
	for name, from := range p.certs() {
		content, err := os.ReadFile(filepath.Join(o.certs, from))
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	for name, from := range p.secrets {
		secret, err := s.get(from)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, name), []byte(secret)); err != nil {
			return err
		}
	}
	for name, from := range p.configs {
		if err := p.config(filepath.Join(dir, name), from, s); err != nil {
			return err
		}
	}
	return nil
}

// certs returns the files that come from make certs. Clients have none of their own.
func (p part) certs() map[string]string {
	files := map[string]string{"ca.pem": "ca.pem"}
	switch p.name {
	case "client":
	case "haproxy":
		files["haproxy-bundle.pem"] = "haproxy-bundle.pem"
	default:
		files["cert.pem"], files["key.pem"] = p.name+".pem", p.name+"-key.pem"
	}
	return files
}

// config writes a file from a template, unless it is there: it may have been edited.
func (p part) config(path, from string, s secrets) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t := template.New(from).Funcs(template.FuncMap{"secret": s.get, "sha256": s.sha256, "bcrypt": s.bcrypt})
	t, err := t.ParseFS(configs, "configs/"+from)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, p.name); err != nil {
		return err
	}
	return write(path, text.Bytes())
}
