// Package gen holds what is generated from api/: stubs by language, and the
// documentation of the API, which servers show.
package gen

import _ "embed"

// Reference is the API reference, a page of HTML.
//
//go:embed doc/api.html
var Reference []byte

// OpenAPI describes the API as Connect has it, in YAML.
//
//go:embed openapi/openapi.yaml
var OpenAPI []byte
