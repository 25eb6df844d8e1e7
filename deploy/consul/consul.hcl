# A single Consul agent, which is its own server. Parts register again whenever their registration is missing, so
# nothing in here has to outlive the agent.

server           = true
bootstrap_expect = 1
data_dir         = "/consul/data"
# HTTP (:8500) and DNS (:8600) for other machines. There is no ACL, which deploy/secured has:
# keep these ports off other networks.
client_addr = "0.0.0.0"

ui_config {
  enabled = true
}

ports {
  # HAProxy asks here, for _prometheus-api-server._tcp.service.consul.
  dns = 8600
  # Nobody uses them.
  grpc     = -1
  grpc_tls = -1
}

dns_config {
  # Leave out instances whose check is a warning, too; the default includes them.
  only_passing = true
}

performance {
  # Elects itself in about a second after a start; the default is for slow machines.
  raft_multiplier = 1
}

telemetry {
  # Keeps metrics for Prometheus, at /v1/agent/metrics?format=prometheus.
  prometheus_retention_time = "10m"
  disable_hostname          = true
}

# No calls to the outside.
disable_update_check = true
