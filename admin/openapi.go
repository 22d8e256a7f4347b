package admin

import (
	_ "embed"
	"net/http"
)

// openapiDocument describes the API (https://spec.openapis.org/oas/v3.1.0). The test makes it
// from the table of routes and the Go types of the answers, and fails if it is not that.
//
//go:embed openapi.json
var openapiDocument []byte

var openapiEncoded = newEncoded(openapiDocument, openapiDocument)

// openapi answers /api/v1/openapi.json.
func openapi(w http.ResponseWriter, r *http.Request, _ query) { openapiEncoded.send(w, r) }
