package validate

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Every file that a pod is told of is in the Secret that it has, which comes from the
// folder of that part alone.
func TestSecretsOfPods(t *testing.T) {
	m := build(t, secured(t))
	files := 0
	for _, w := range m.workloads {
		mounted := map[string]*corev1.Secret{}
		for _, v := range w.pod.Spec.Volumes {
			if v.Secret != nil {
				mounted[v.Name] = m.secret(v.Secret.SecretName)
			}
		}
		if len(mounted) != 1 {
			t.Errorf("%s has %d Secrets, want its own", w.name, len(mounted))
		}
		for _, c := range w.pod.Spec.Containers {
			for _, e := range c.Env {
				for _, v := range c.VolumeMounts {
					name, ok := strings.CutPrefix(e.Value, v.MountPath+"/")
					if !ok || mounted[v.Name] == nil {
						continue
					}
					files++
					if len(mounted[v.Name].Data[name]) == 0 {
						t.Errorf("%s: %s is %s, which Secret %s does not have", w.name, e.Name, e.Value, mounted[v.Name].Name)
					}
				}
				if from := e.ValueFrom; from != nil && from.SecretKeyRef != nil && len(m.secret(from.SecretKeyRef.Name).Data[from.SecretKeyRef.Key]) == 0 {
					t.Errorf("%s: %s is in no Secret", w.name, e.Name)
				}
			}
		}
	}
	if files < 15 {
		t.Errorf("only %d files are asked for", files)
	}
}

// Parts reach what they call, and nothing else of each other.
func TestNetworkPolicies(t *testing.T) {
	m := build(t, secured(t))
	allowed := map[string]bool{
		"prometheus-remote-receiver metrics-forwarder link": true,
		"metrics-forwarder prometheus-api-server link":      true,
		"haproxy prometheus-api-server rpc":                 true,
		"prometheus-api-server prometheus-api-server rpc":   true,
	}
	for _, from := range m.workloads {
		for _, to := range m.workloads {
			for _, c := range to.pod.Spec.Containers {
				for _, p := range c.Ports {
					way := from.name + " " + to.name + " " + p.Name
					if got := m.leaves(t, from, to, p.Name) && m.enters(t, from, to, p.Name); got != allowed[way] {
						t.Errorf("%s: allowed is %t", way, got)
					}
				}
			}
		}
	}
	for _, w := range m.workloads {
		if m.isolated(t, w) < 2 {
			t.Errorf("%s is not isolated in both directions", w.name)
		}
	}
}

// leaves says whether a pod may call a port of another.
func (m *manifests) leaves(t *testing.T, from, to workload, port string) bool {
	for _, n := range m.networks {
		if !applies(t, n, from) {
			continue
		}
		for _, rule := range n.Spec.Egress {
			if reaches(t, rule.To, to) && has(rule.Ports, port) {
				return true
			}
		}
	}
	return false
}

// enters says whether a pod's port may be called by another.
func (m *manifests) enters(t *testing.T, from, to workload, port string) bool {
	for _, n := range m.networks {
		if !applies(t, n, to) {
			continue
		}
		for _, rule := range n.Spec.Ingress {
			if reaches(t, rule.From, from) && has(rule.Ports, port) {
				return true
			}
		}
	}
	return false
}

// isolated returns in how many directions nothing may pass that no rule allows.
func (m *manifests) isolated(t *testing.T, w workload) int {
	directions := map[networkingv1.PolicyType]bool{}
	for _, n := range m.networks {
		if applies(t, n, w) {
			for _, d := range n.Spec.PolicyTypes {
				directions[d] = true
			}
		}
	}
	return len(directions)
}

func applies(t *testing.T, n *networkingv1.NetworkPolicy, w workload) bool {
	s := n.Spec.PodSelector
	return len(s.MatchLabels)+len(s.MatchExpressions) == 0 || selects(t, &s, w.pod.Labels)
}

// reaches says whether a pod of this namespace is among the peers of a rule that names
// any.
func reaches(t *testing.T, peers []networkingv1.NetworkPolicyPeer, w workload) bool {
	for _, p := range peers {
		if p.NamespaceSelector == nil && p.PodSelector != nil && selects(t, p.PodSelector, w.pod.Labels) {
			return true
		}
	}
	return false
}

func has(ports []networkingv1.NetworkPolicyPort, name string) bool {
	for _, p := range ports {
		if p.Port != nil && p.Port.StrVal == name {
			return true
		}
	}
	return false
}
