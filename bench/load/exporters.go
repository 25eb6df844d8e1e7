package load

import (
	"fmt"
	"math"
	"strconv"
)

// The kinds of targets of a fleet. Each adds what its exporter exposes; how many series
// that is may not depend on the target.

// application is a deployment of the cluster, and where it is.
type application struct{ name, namespace string }

// applications that call one another.
var applications = [...]application{
	{"storefront-web", "shop"}, {"basket", "shop"}, {"catalogue-search", "shop"}, {"recommendations", "shop"},
	{"orders", "fulfilment"}, {"stock-reservations", "fulfilment"}, {"shipping-labels", "fulfilment"},
	{"payments", "finance"}, {"fraud-scoring", "finance"}, {"ledger", "finance"}, {"invoices-pdf", "finance"},
	{"sessions", "identity"}, {"accounts", "identity"}, {"mail-templates", "messaging"}, {"push-notifications", "messaging"},
}

func (x *exposition) application() application {
	return applications[x.random.next()%uint64(len(applications))]
}

func (a application) principal() string {
	return "spiffe://cluster.local/ns/" + a.namespace + "/sa/" + a.name
}

func (a application) host() string { return a.name + "." + a.namespace + ".svc.cluster.local" }

// version of the application in use.
func (a application) version() string { return "v2." + strconv.Itoa(len(a.name)) + ".0" }

// pod names one of the application's pods.
func (x *exposition) pod(a application) string {
	return a.name + "-" + x.hex(10) + "-" + x.hex(5)
}

// address of a target, in networks whose second number starts with the one given.
func address(network, number int) string {
	return fmt.Sprintf("10.%d.%d.%d", network+number>>16&15, number>>8&255, number&255)
}

func node(number int) string {
	return fmt.Sprintf("ip-10-32-%d-%d.eu-central-1.compute.internal", number/40>>8&255, number/40&255)
}

// meshBounds are milliseconds, of Istio's histograms.
var meshBounds = []string{
	"0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000", "60000", "300000",
	"600000", "1.8e+06", "3.6e+06", "+Inf",
}

// sidecar is Envoy beside an application, with Istio's metrics: up to 25 labels, whose values
// are mostly the same on both sides of a request.
func sidecar(x *exposition, number int) {
	self := applications[number%len(applications)]
	x.on("cluster", "prod-eu-central-1a", "instance", address(64, number)+":15020", "job", "envoy-stats",
		"namespace", self.namespace, "pod", x.pod(self))
	var calls [5][]string
	var hosts [5]string // of the other sides, which all differ
	for i := range calls {
		other := applications[(number+1+3*i)%len(applications)]
		hosts[i] = other.host()
		from, to, reporter := self, other, "source"
		if i%2 == 1 {
			from, to, reporter = other, self, "destination"
		}
		calls[i] = []string{
			"reporter", reporter, "source_app", from.name, "source_workload", from.name, "source_workload_namespace", from.namespace,
			"source_principal", from.principal(), "source_canonical_service", from.name, "destination_app", to.name,
			"destination_workload", to.name, "destination_workload_namespace", to.namespace,
			"destination_principal", to.principal(), "destination_service", to.host(),
			"destination_service_name", to.name, "destination_canonical_service", to.name,
			"destination_version", to.version(), "request_protocol", []string{"http", "grpc"}[i%2],
			"response_flags", "-", "connection_security_policy", "mutual_tls",
		}
	}
	x.counters("istio_requests_total", "requests_total")
	for _, call := range calls {
		for _, code := range []string{"200", "404", "503"} {
			x.count(5000, append(call, "response_code", code)...)
		}
	}
	x.histograms("istio_request_duration_milliseconds", "request_duration_milliseconds")
	for _, call := range calls {
		x.histogram(meshBounds, append(call, "response_code", "200")...)
	}
	x.histograms("istio_response_bytes", "response_bytes")
	for _, call := range calls {
		x.histogram(meshBounds, append(call, "response_code", "200")...)
	}
	for _, name := range []string{"upstream_cx_total", "upstream_cx_rx_bytes_total", "upstream_rq_completed", "upstream_rq_retry", "lb_healthy_panic"} {
		x.counters("envoy_cluster_"+name, name)
		for _, host := range hosts {
			x.count(3e6, "cluster_name", "outbound|8080||"+host)
		}
	}
	x.gauges("envoy_cluster_upstream_rq_active", "upstream_rq_active")
	for _, host := range hosts {
		x.add(0, whole(20), "cluster_name", "outbound|8080||"+host)
	}
}

// jvmBounds are seconds, of Micrometer's histograms.
var jvmBounds = []string{
	"0.001", "0.001048576", "0.001398101", "0.001747626", "0.002097151", "0.002446676", "0.002796201", "0.003145726", "0.003495251",
	"0.005592405", "0.006990506", "0.011184810", "0.013981011", "0.022369621", "0.044739242", "0.067108864", "0.089478485",
	"0.134217727", "0.178956970", "0.268435456", "0.357913941", "0.536870911", "0.715827882", "1.0", "2.505397588", "5.010795178",
	"10.0", "22.906492245", "30.0", "+Inf",
}

// jvm is an application on a JVM, which knows requests by the templates of their URLs.
func jvm(x *exposition, number int) {
	a := x.application()
	x.on("cluster", "prod-eu-central-1a", "instance", address(80, number)+":8081", "job", "podmonitor/"+a.namespace+"/spring-boot",
		"namespace", a.namespace, "pod", x.pod(a), "node", node(number), "uid", x.uid(), "app_kubernetes_io_name", a.name,
		"app_kubernetes_io_instance", a.name+"-blue", "app_kubernetes_io_managed_by", "Helm", "helm_sh_chart", a.name+"-4.17.2")
	x.histograms("http_server_requests_seconds", "Duration of HTTP server request handling")
	for i, uri := range []string{
		"/api/v3/customers/{customerId}/orders/{orderId}/items/{itemId}/availability", "/api/v3/customers/{customerId}/orders",
		"/api/v3/search", "/internal/callbacks/payment-providers/{provider}/transactions/{transactionId}/notifications", "/actuator/prometheus",
	} {
		x.histogram(jvmBounds, "method", methods[i%2], "status", "200", "outcome", "SUCCESS", "exception", "none", "error", "none", "uri", uri)
	}
	pools := []string{"G1 Eden Space", "G1 Survivor Space", "G1 Old Gen", "Metaspace", "Compressed Class Space", "CodeHeap 'profiled nmethods'"}
	x.gauges("jvm_memory_used_bytes", "The amount of used memory")
	for i, pool := range pools {
		x.add(1<<24, whole(1<<31), "area", []string{"heap", "nonheap"}[i/3], "id", pool)
	}
	x.gauges("jvm_memory_max_bytes", "The maximum amount of memory in bytes that can be used for memory management")
	for i, pool := range pools {
		x.add([]float64{-1, 1073741824}[i/2%2], stays, "area", []string{"heap", "nonheap"}[i/3], "id", pool)
	}
	x.summaries("jvm_gc_pause_seconds", "Time spent in GC pause")
	for _, cause := range []string{"G1 Evacuation Pause", "Metadata GC Threshold", "G1 Humongous Allocation"} {
		x.summary(0.02, "action", "end of minor GC", "cause", cause, "gc", "G1 Young Generation")
	}
	x.gauges("process_cpu_usage", `The "recent cpu usage" for the Java Virtual Machine process`)
	x.add(0.1, wanders(1))
	x.gauges("process_uptime_seconds", "The uptime of the Java virtual machine")
	x.add(1000, ticks(15, 1e3))
	x.gauges("process_start_time_seconds", "Start time of the process since unix epoch.")
	x.add(x.seconds()+0.375, stays)
	x.gauges("hikaricp_connections_active", "Active connections")
	x.add(0, whole(30), "pool", "HikariPool-1")
	x.counters("logback_events_total", "Number of log events that were enabled by the effective log level")
	for _, level := range []string{"trace", "debug", "info", "warn", "error"} {
		x.count(200, "level", level)
	}
}

// broker is one of Kafka, by the JMX exporter: rates that fade, and summaries that are NaN when idle.
func broker(x *exposition, number int) {
	x.on("cluster", "prod-eu-central-1a", "instance", address(64, number)+":9404", "job", "kafka", "kafka_cluster", "events-01", "broker", strconv.Itoa(number))
	topics := []string{
		"payments.authorised.v1", "orders.placed.v2", "orders.cancelled.v1", "stock.changed.v4", "clickstream.raw", "clickstream.sessions",
		"mail.outbox.v1", "__consumer_offsets", "ledger.postings.v3", "connect-cluster-configs", "fraud.scores.v1-KSTREAM-AGGREGATE-STATE-STORE-0000000007-changelog",
	}
	for _, what := range []string{"messagesin", "bytesin", "bytesout"} {
		x.counters("kafka_server_brokertopicmetrics_"+what+"_total", "Attribute exposed for management kafka.server:name=null,type=BrokerTopicMetrics,attribute=Count")
		for _, topic := range topics {
			x.count(1e7, "topic", topic)
		}
		x.gauges("kafka_server_brokertopicmetrics_"+what+"_oneminuterate", "Attribute exposed for management kafka.server:name=null,type=BrokerTopicMetrics,attribute=OneMinuteRate")
		for _, topic := range topics {
			x.add(1e6*x.random.float(), fades(x.pace(1e6)), "topic", topic)
		}
	}
	x.gauges("kafka_log_log_logendoffset", "Attribute exposed for management kafka.log:name=LogEndOffset,type=Log,attribute=Value")
	for partition := range 48 {
		x.add(math.Floor(1e10*x.random.float()), grows(x.pace(20_000)), "topic", topics[partition/5], "partition", strconv.Itoa(partition))
	}
	x.gauges("kafka_log_log_size", "Attribute exposed for management kafka.log:name=Size,type=Log,attribute=Value")
	for partition := range 48 {
		x.add(0, whole(1<<40), "topic", topics[partition/5], "partition", strconv.Itoa(partition))
	}
	x.summaries("kafka_network_requestmetrics_totaltimems", "Attribute exposed for management kafka.network:name=TotalTimeMs,type=RequestMetrics,attribute=50thPercentile")
	for _, request := range []string{"Produce", "Fetch", "FetchConsumer", "FetchFollower", "Metadata", "OffsetCommit", "JoinGroup", "Heartbeat", "SyncGroup", "ApiVersions"} {
		x.summary(40, "request", request)
	}
	x.gauges("kafka_controller_kafkacontroller_lastleaderelectiontimestamp_seconds", "Last time that a leader was elected")
	x.add(x.seconds(), stays)
}

// networkSwitch is one of a data centre, by SNMP: few labels, and the counters of each port, some of 32 bits.
func networkSwitch(x *exposition, number int) {
	x.on("cluster", "dc-frankfurt-2", "instance", fmt.Sprintf("sw-%04d.rack%02d.fra2.example.net", number, number/2%40), "job", "snmp")
	ports := make([][]string, 48)
	for i := range ports {
		ports[i] = []string{"ifIndex", strconv.Itoa(10101 + 4*i), "ifName", "Gi1/0/" + strconv.Itoa(1+i), "ifAlias", "",
			"ifDescr", "GigabitEthernet1/0/" + strconv.Itoa(1+i)}
		if i%3 != 0 {
			ports[i][5] = fmt.Sprintf("[CHG%07d] esx-%03d.fra2 vmnic%d; patch panel %c%d", 48*number+i, (7*number+i)%400, i%2, 'A'+i%6, i)
		}
	}
	each := func(add func(port ...string)) {
		for _, port := range ports {
			add(port...)
		}
	}
	for _, name := range []string{"ifHCInOctets", "ifHCOutOctets"} {
		x.counters(name, "The total number of octets on the interface, including framing characters - 1.3.6.1.2.1.31.1.1.1.6")
		each(func(port ...string) { x.count(18e9, port...) })
	}
	x.counters("ifInUcastPkts", "The number of packets, delivered by this sub-layer to a higher (sub-)layer - 1.3.6.1.2.1.2.2.1.11")
	each(func(port ...string) { x.add(0, wraps(x.pace(2e7)), port...) })
	x.counters("ifInErrors", "For packet-oriented interfaces, the number of inbound packets that contained errors - 1.3.6.1.2.1.2.2.1.14")
	each(func(port ...string) { x.count(1.2, port...) })
	x.gauges("ifHighSpeed", "An estimate of the interface's current bandwidth in units of 1,000,000 bits per second - 1.3.6.1.2.1.31.1.1.1.15")
	each(func(port ...string) { x.add(1000, stays, port...) })
	x.gauges("ifOperStatus", "The current operational state of the interface - 1.3.6.1.2.1.2.2.1.8")
	each(func(port ...string) { x.add(1, seldom, port...) })
	x.gauges("sysUpTime", "The time since the network management portion of the system was last re-initialized. - 1.3.6.1.2.1.1.3")
	x.add(1e8, ticks(1500, 1))
}

// kubeStateMetrics describes pods: long labels on values that hardly change, in no order.
func kubeStateMetrics(x *exposition, number int) {
	x.unordered = true
	x.on("cluster", "prod-eu-central-1a", "instance", address(96, number)+":8080", "job", "kube-state-metrics")
	type described struct{ pod, container []string }
	pods := make([]described, 20)
	for i := range pods {
		a := x.application()
		id := []string{"namespace", a.namespace, "pod", x.pod(a), "uid", x.uid()}
		pods[i] = described{pod: id, container: append(id, "container", a.name)}
	}
	each := func(add func(pod described)) {
		for _, pod := range pods {
			add(pod)
		}
	}
	x.gauges("kube_pod_info", "[STABLE] Information about pod.")
	each(func(pod described) {
		owner := pod.pod[3][:len(pod.pod[3])-6]
		x.add(1, stays, append(pod.pod, "node", node(int(x.random.next()%4000)), "host_ip", address(32, int(x.random.next()>>48)), "pod_ip", address(64, int(x.random.next()>>48)),
			"created_by_kind", "ReplicaSet", "created_by_name", owner, "priority_class", "business-critical", "host_network", "false")...)
	})
	x.gauges("kube_pod_container_info", "[STABLE] Information about a container in a pod.")
	each(func(pod described) {
		image := "123456789012.dkr.ecr.eu-central-1.amazonaws.com/platform/" + pod.container[7]
		x.add(1, stays, append(pod.container, "image", image+":2026.11.4-"+x.hex(8), "image_id", image+"@sha256:"+x.hex(64),
			"image_spec", image, "container_id", "containerd://"+x.hex(64))...)
	})
	for _, name := range []string{"kube_pod_created", "kube_pod_start_time"} {
		x.gauges(name, "[STABLE] Unix timestamp.")
		each(func(pod described) { x.add(x.seconds(), stays, pod.pod...) })
	}
	x.gauges("kube_pod_status_phase", "[STABLE] The pods current phase.")
	each(func(pod described) {
		var all []Series
		for _, phase := range []string{"Pending", "Succeeded", "Failed", "Unknown", "Running"} {
			all = append(all, x.series("", append(pod.pod, "phase", phase)))
		}
		all[4].Value = 1
		x.instrument(all, func([]Series, *source) {})
	})
	x.gauges("kube_pod_container_status_ready", "[STABLE] Describes whether the containers readiness check succeeded.")
	each(func(pod described) { x.add(1, seldom, pod.container...) })
	x.counters("kube_pod_container_status_restarts_total", "[STABLE] The number of container restarts per container.")
	each(func(pod described) { x.count(1.01, pod.container...) })
	x.gauges("kube_pod_container_resource_limits", "The number of requested limit resource by a container.")
	each(func(pod described) { x.add(0.25, stays, append(pod.container, "resource", "cpu", "unit", "core")...) })
	each(func(pod described) {
		x.add(805306368, stays, append(pod.container, "resource", "memory", "unit", "byte")...)
	})
	x.gauges("kube_pod_annotations", "Kubernetes annotations converted to Prometheus labels.")
	each(func(pod described) {
		x.add(1, stays, append(pod.pod, "annotation_runbook_url", "https://runbooks.example.com/"+pod.pod[1]+"/"+pod.container[7]+"?pod="+pod.pod[3]+"#when-it-restarts",
			"annotation_checksum_config", x.hex(64))...)
	})
}
