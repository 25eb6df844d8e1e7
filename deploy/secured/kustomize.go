package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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
	for _, part := range []string{"receiver", "forwarder", "server", "haproxy"} {
		// Among them is what was added by hand, such as the keys of cursors.
		files, err := os.ReadDir(filepath.Join(o.dir, part))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "  - name: %s\n    files:\n", part)
		for _, f := range files {
			// There is no Consul, and what an editor has open is no file of the part.
			if name := f.Name(); name != "consul.token" && name[0] != '.' {
				fmt.Fprintf(&text, "      - %s/%s\n", part, name)
			}
		}
	}
	return write(filepath.Join(o.dir, "kustomization.yaml"), text.Bytes())
}
