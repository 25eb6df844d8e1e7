# On top of deploy/consul/consul.hcl: TLS, and nobody may do anything without a token. deploy/consul/secured makes the
# tokens. Paths are relative to where Consul is started.

acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = "{{secret "consul-management.token"}}"
    agent              = "{{secret "consul-management.token"}}"
    # What those may know who ask by DNS, such as HAProxy: the services, and where they are.
    dns = "{{secret "consul-dns.token"}}"
  }
}

tls {
  defaults {
    ca_file         = "ca.pem"
    cert_file       = "cert.pem"
    key_file        = "key.pem"
    verify_outgoing = true
    tls_min_version = "TLSv1_2"
  }
  internal_rpc {
    verify_incoming = true
  }
}

ports {
  http  = -1
  https = 8501
}
