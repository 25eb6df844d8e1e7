package access

import "github.com/promgrpc/exporter/internal/strictyaml"

// document is the access file as it is written.
type document struct {
	Roles struct {
		Receiver  []text `yaml:"receiver"`
		Forwarder []text `yaml:"forwarder"`
		Server    []text `yaml:"server"`
		Proxy     []text `yaml:"proxy"`
	} `yaml:"roles"`
	CursorKeyFiles []text       `yaml:"cursor_key_files"`
	Policies       []policyText `yaml:"policies"`
}

// policyText is a policy of it.
type policyText struct {
	Name         text       `yaml:"name"`
	TokenFiles   []text     `yaml:"token_files"`
	TokenSHA256  []text     `yaml:"token_sha256"`
	Users        []text     `yaml:"users"`
	Certificates []text     `yaml:"certificates"`
	Anonymous    *flag      `yaml:"anonymous"`
	Read         *readText  `yaml:"read"`
	Write        *writeText `yaml:"write"`
}

type readText struct {
	Selectors []text `yaml:"selectors"`
	Logs      *flag  `yaml:"logs"`
	Status    *flag  `yaml:"status"`
	Streams   text   `yaml:"streams"`
	Memory    text   `yaml:"memory"`
}

type writeText struct {
	Tenant text `yaml:"tenant"`
}

type (
	text = strictyaml.Text
	flag = strictyaml.Flag
)
