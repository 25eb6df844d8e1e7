// Package validate checks the kustomization beside it, and what is made of it,
// without a cluster: they are built, each object is decoded strictly into the
// API's own type, and what the objects say of each other holds. What a cluster
// adds, such as admission, it does not know.
package validate

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kinds are those that the kustomization may hold; a new one needs its line.
var kinds = map[schema.GroupVersionKind]func() metav1.Object{
	corev1.SchemeGroupVersion.WithKind("Namespace"):             func() metav1.Object { return new(corev1.Namespace) },
	corev1.SchemeGroupVersion.WithKind("ConfigMap"):             func() metav1.Object { return new(corev1.ConfigMap) },
	corev1.SchemeGroupVersion.WithKind("Service"):               func() metav1.Object { return new(corev1.Service) },
	appsv1.SchemeGroupVersion.WithKind("Deployment"):            func() metav1.Object { return new(appsv1.Deployment) },
	appsv1.SchemeGroupVersion.WithKind("StatefulSet"):           func() metav1.Object { return new(appsv1.StatefulSet) },
	corev1.SchemeGroupVersion.WithKind("Secret"):                func() metav1.Object { return new(corev1.Secret) },
	networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"):   func() metav1.Object { return new(networkingv1.NetworkPolicy) },
	policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"): func() metav1.Object { return new(policyv1.PodDisruptionBudget) },
}

// workload is what a Deployment and a StatefulSet have in common.
type workload struct {
	name, serviceName string
	replicas          int32
	selector          *metav1.LabelSelector
	pod               corev1.PodTemplateSpec
	claims            []corev1.PersistentVolumeClaim
}

type manifests struct {
	services  []*corev1.Service
	configs   []*corev1.ConfigMap
	secrets   []*corev1.Secret
	networks  []*networkingv1.NetworkPolicy
	budgets   []*policyv1.PodDisruptionBudget
	workloads []workload
}

// overlay is the folder of what is made of the kustomization.
func overlay(name string) string { return filepath.Join("..", "..", name, "kubernetes") }

// each runs a test of what holds for all variants.
func each(t *testing.T, test func(t *testing.T, m *manifests)) {
	for name, dir := range map[string]string{
		"plain": "..", "secured": secured(t), "bucket": overlay("bucket"), "groups": overlay("groups"), "thanos": overlay("thanos"),
	} {
		t.Run(name, func(t *testing.T) { test(t, build(t, dir)) })
	}
}

func TestSelectors(t *testing.T) { each(t, testSelectors) }

func testSelectors(t *testing.T, m *manifests) {
	for _, w := range m.workloads {
		if !selects(t, w.selector, w.pod.Labels) {
			t.Errorf("%s: its selector does not match its own pods", w.name)
		}
		if w.serviceName != "" && !slices.ContainsFunc(m.services, func(s *corev1.Service) bool {
			return s.Name == w.serviceName && s.Spec.ClusterIP == corev1.ClusterIPNone
		}) {
			t.Errorf("%s: no headless service %s", w.name, w.serviceName)
		}
	}
	for _, s := range m.services {
		w := m.selected(t, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		if w == nil {
			t.Errorf("service %s selects no workload, or several", s.Name)
			continue
		}
		for _, p := range s.Spec.Ports {
			if !hasPort(w.pod.Spec, p.TargetPort) {
				t.Errorf("service %s, port %s: %s has no port %s", s.Name, p.Name, w.name, p.TargetPort.String())
			}
		}
	}
	for _, b := range m.budgets {
		w := m.selected(t, b.Spec.Selector)
		if w == nil {
			t.Errorf("budget %s selects no workload, or several", b.Name)
		} else if w.replicas < 2 {
			t.Errorf("budget %s would keep the only replica of %s from moving", b.Name, w.name)
		}
	}
	for _, w := range m.workloads {
		if w.replicas > 1 && !slices.ContainsFunc(m.budgets, func(b *policyv1.PodDisruptionBudget) bool {
			return selects(t, b.Spec.Selector, w.pod.Labels)
		}) {
			t.Errorf("%s has %d replicas and no budget", w.name, w.replicas)
		}
	}
}

func TestPods(t *testing.T) { each(t, testPods) }

func testPods(t *testing.T, m *manifests) {
	for _, w := range m.workloads {
		pod := w.pod.Spec
		if pod.SecurityContext == nil || !is(pod.SecurityContext.RunAsNonRoot) || pod.SecurityContext.SeccompProfile == nil {
			t.Errorf("%s: may run as root, or without seccomp", w.name)
		}
		volumes := map[string]bool{}
		for _, c := range w.claims {
			volumes[c.Name] = true
		}
		for _, v := range pod.Volumes {
			volumes[v.Name] = true
			if v.ConfigMap != nil && !slices.ContainsFunc(m.configs, func(c *corev1.ConfigMap) bool { return c.Name == v.ConfigMap.Name }) {
				t.Errorf("%s: no ConfigMap %s", w.name, v.ConfigMap.Name)
			}
			if v.Secret != nil && m.secret(v.Secret.SecretName) == nil {
				t.Errorf("%s: no Secret %s", w.name, v.Secret.SecretName)
			}
			if v.Secret != nil && pod.SecurityContext.FSGroup == nil {
				t.Errorf("%s: its user cannot read the Secret", w.name)
			}
		}
		for _, c := range pod.Containers {
			s := c.SecurityContext
			if s == nil || !is(s.ReadOnlyRootFilesystem) || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
				s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") {
				t.Errorf("%s/%s: more privileges than it needs", w.name, c.Name)
			}
			if !strings.Contains(c.Image, ":") {
				t.Errorf("%s/%s: image %s has no tag", w.name, c.Name, c.Image)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s/%s: no limit of memory, or no request of CPU", w.name, c.Name)
			}
			if c.ReadinessProbe == nil || c.LivenessProbe == nil {
				t.Errorf("%s/%s: a probe is missing", w.name, c.Name)
			}
			for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
				switch {
				case p == nil, p.Exec != nil:
				case p.HTTPGet != nil && hasPort(pod, p.HTTPGet.Port), p.TCPSocket != nil && hasPort(pod, p.TCPSocket.Port):
				default:
					t.Errorf("%s/%s: a probe asks a port that there is not", w.name, c.Name)
				}
			}
			for _, v := range c.VolumeMounts {
				if !volumes[v.Name] {
					t.Errorf("%s/%s: no volume %s", w.name, c.Name, v.Name)
				}
			}
		}
	}
}

// Servers and routers heed who HAProxy says that its clients are.
func TestServersTrustHAProxy(t *testing.T) {
	for _, dir := range []string{"..", overlay("groups")} {
		for _, w := range build(t, dir).workloads {
			if strings.HasPrefix(w.name, "prometheus-api-") && !startedWith(w, "--rpc.trusted-proxy=") {
				t.Errorf("%s: no --rpc.trusted-proxy, so all clients of HAProxy are one peer", w.name)
			}
		}
	}
}

// startedWith says whether a workload's only container has an argument that begins so.
func startedWith(w workload, begins string) bool {
	return slices.ContainsFunc(w.pod.Spec.Containers[0].Args, func(arg string) bool { return strings.HasPrefix(arg, begins) })
}

// Whichever machine is lost, one forwarder goes on, and what was answered is on another
// disk; and the servers that have it tell those that do not.
func TestAnyMachineMayGo(t *testing.T) {
	each(t, func(t *testing.T, m *manifests) {
		for name, flag := range map[string]string{"metrics-forwarder": "--ack.servers=1", "prometheus-api-server": "--peers="} {
			found := 0
			for _, w := range m.workloads {
				if !strings.HasPrefix(w.name, name) {
					continue
				}
				if found++; w.replicas < 2 || !startedWith(w, flag) {
					t.Errorf("%s: %d replicas, %q", w.name, w.replicas, w.pod.Spec.Containers[0].Args)
				}
			}
			if found == 0 {
				t.Errorf("there is no %s", name)
			}
		}
	})
}

// Receivers and routers have the same groups file, whose addresses are those of the groups'
// own services.
func TestGroups(t *testing.T) {
	m := build(t, overlay("groups"))
	i := slices.IndexFunc(m.configs, func(c *corev1.ConfigMap) bool { return c.Name == "groups" })
	if i < 0 {
		t.Fatal("there is no ConfigMap groups")
	}
	var file struct {
		Groups map[string]map[string]string
	}
	if err := yaml.Unmarshal([]byte(m.configs[i].Data["groups.yml"]), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 2 {
		t.Errorf("%d groups", len(file.Groups))
	}
	for name, addresses := range file.Groups {
		for of, workload := range map[string]string{"forwarders": "metrics-forwarder", "servers": "prometheus-api-server"} {
			rest, ok := strings.CutPrefix(addresses[of], "dns+srv://_")
			port, service, _ := strings.Cut(rest, "._tcp.")
			s := m.service(service)
			if !ok || s == nil || !m.headless(service, port) {
				t.Errorf("%s of %s: no headless service for %s", of, name, addresses[of])
				continue
			}
			if w := m.selected(t, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}); w == nil || w.name != workload+"-"+name || w.pod.Labels["promgrpc/group"] != name {
				t.Errorf("%s of %s are others", of, name)
			}
		}
	}
	for _, name := range []string{"prometheus-remote-receiver", "prometheus-api-router"} {
		i := slices.IndexFunc(m.workloads, func(w workload) bool { return w.name == name })
		if w := m.workloads[i]; !startedWith(w, "--groups.file=/etc/groups/groups.yml") || startedWith(w, "--forwarder=") ||
			w.pod.Spec.Containers[0].VolumeMounts[0].MountPath != "/etc/groups" || w.pod.Spec.Volumes[0].ConfigMap.Name != "groups" {
			t.Errorf("%s has no groups file: %q", name, w.pod.Spec.Containers[0].Args)
		}
	}
}

// With a bucket, servers alone have its URL, and credentials that are in none of these files.
func TestBucket(t *testing.T) {
	for _, w := range build(t, overlay("bucket")).workloads {
		c := w.pod.Spec.Containers[0]
		named := slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "PROMGRPC_BUCKET" && strings.Contains(e.Value, "://") })
		known := slices.ContainsFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool { return e.SecretRef != nil && e.SecretRef.Name == "bucket" })
		if server := w.name == "prometheus-api-server"; named != server || known != server {
			t.Errorf("%s: the URL of the bucket: %t, its credentials: %t", w.name, named, known)
		}
	}
}

// Every SRV name that a pod is given, _PORT._tcp.SERVICE, is a named port of a
// headless service.
func TestDiscovery(t *testing.T) { each(t, testDiscovery) }

func testDiscovery(t *testing.T, m *manifests) {
	found := 0
	for _, w := range m.workloads {
		for _, c := range w.pod.Spec.Containers {
			texts := slices.Clone(c.Args)
			for _, e := range c.Env {
				texts = append(texts, e.Value)
			}
			for _, text := range texts {
				text = strings.ReplaceAll(text, "$(GROUP)", w.pod.Labels["promgrpc/group"])
				port, rest, ok := strings.Cut(text, "._tcp.")
				if !ok {
					continue
				}
				found++
				port = port[strings.LastIndexByte(port, '_')+1:]
				service, _, _ := strings.Cut(rest, ".")
				if !m.headless(service, port) {
					t.Errorf("%s/%s: %s: no headless service %s with a port %s", w.name, c.Name, text, service, port)
				}
			}
		}
	}
	if found < 4 {
		t.Errorf("found %d SRV names, want at least those of receiver, forwarder, server and HAProxy, or two groups' and HAProxy's", found)
	}
}

// secured makes the folder of the secured variant, as `make secured` does.
func secured(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{{"./deploy/certs", "--dir=" + dir + "/certs"}, {"./deploy/secured", "--certs=" + dir + "/certs", "--dir=" + dir}} {
		command := exec.Command("go", append([]string{"run"}, args...)...)
		command.Dir = filepath.Join("..", "..", "..")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("go run %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	return dir
}

func build(t *testing.T, dir string) *manifests {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var m manifests
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.add(text); err != nil {
			t.Fatalf("%s: %v", r.CurId(), err)
		}
	}
	return &m
}

func (m *manifests) add(text []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(text, &kind); err != nil {
		return err
	}
	make, ok := kinds[kind.GroupVersionKind()]
	if !ok {
		return fmt.Errorf("unexpected kind %s", kind.GroupVersionKind())
	}
	object := make()
	if err := yaml.UnmarshalStrict(text, object); err != nil {
		return err
	}
	if _, ok := object.(*corev1.Namespace); !ok && object.GetNamespace() == "" {
		return fmt.Errorf("no namespace")
	}
	switch o := object.(type) {
	case *corev1.Service:
		m.services = append(m.services, o)
	case *corev1.ConfigMap:
		m.configs = append(m.configs, o)
	case *corev1.Secret:
		m.secrets = append(m.secrets, o)
	case *networkingv1.NetworkPolicy:
		m.networks = append(m.networks, o)
	case *policyv1.PodDisruptionBudget:
		m.budgets = append(m.budgets, o)
	case *appsv1.Deployment:
		m.workloads = append(m.workloads, workload{name: o.Name, replicas: *o.Spec.Replicas, selector: o.Spec.Selector, pod: o.Spec.Template})
	case *appsv1.StatefulSet:
		m.workloads = append(m.workloads, workload{
			name: o.Name, serviceName: o.Spec.ServiceName, replicas: *o.Spec.Replicas,
			selector: o.Spec.Selector, pod: o.Spec.Template, claims: o.Spec.VolumeClaimTemplates,
		})
	}
	return nil
}

// selected returns the one workload whose pods s matches, or nil.
func (m *manifests) selected(t *testing.T, s *metav1.LabelSelector) *workload {
	t.Helper()
	var found []*workload
	for i := range m.workloads {
		if selects(t, s, m.workloads[i].pod.Labels) {
			found = append(found, &m.workloads[i])
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

func (m *manifests) secret(name string) *corev1.Secret {
	for _, s := range m.secrets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (m *manifests) service(name string) *corev1.Service {
	for _, s := range m.services {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (m *manifests) headless(service, port string) bool {
	return slices.ContainsFunc(m.services, func(s *corev1.Service) bool {
		return s.Name == service && s.Spec.ClusterIP == corev1.ClusterIPNone &&
			slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == port })
	})
}

func selects(t *testing.T, s *metav1.LabelSelector, of map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return !selector.Empty() && selector.Matches(labels.Set(of))
}

func hasPort(pod corev1.PodSpec, port intstr.IntOrString) bool {
	for _, c := range pod.Containers {
		for _, p := range c.Ports {
			if p.Name == port.StrVal && port.Type == intstr.String || p.ContainerPort == port.IntVal && port.Type == intstr.Int {
				return true
			}
		}
	}
	return false
}

func is(b *bool) bool { return b != nil && *b }
