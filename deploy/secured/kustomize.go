package main

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// overlay is where Kubernetes gets its Secrets from, and whom they are for.
const overlay = "deploy/secured/kubernetes"

// kustomization writes what makes a Secret of each part's folder, for the overlay:
// files have to be below the kustomization that they are taken from.
func (o *options) kustomization() error {
	here, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	root, err := filepath.Abs(overlay)
	if err != nil {
		return err
	}
	resource, err := filepath.Rel(here, root)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, `# kubectl apply -k %s
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: promgrpc
resources: [%s]
generatorOptions:
  # So that pods see renewed certificates without a restart; HAProxy needs kubectl rollout restart deployment haproxy.
  disableNameSuffixHash: true
secretGenerator:
`, o.dir, filepath.ToSlash(resource))
	for _, p := range parts {
		if !slices.Contains([]string{"receiver", "forwarder", "server", "haproxy"}, p.name) {
			continue
		}
		fmt.Fprintf(&text, "  - name: %s\n    files:\n", p.name)
		for _, name := range p.files() {
			// There is no Consul.
			if name != "consul.token" {
				fmt.Fprintf(&text, "      - %s/%s\n", p.name, name)
			}
		}
	}
	return write(filepath.Join(o.dir, "kustomization.yaml"), text.Bytes())
}

// files of a part's folder by their names.
func (p part) files() []string {
	var names []string
	for _, files := range []map[string]string{p.certs(), p.configs, p.secrets} {
		names = append(names, slices.Collect(maps.Keys(files))...)
	}
	slices.Sort(names)
	return names
}
