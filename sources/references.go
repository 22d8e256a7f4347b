package sources

import "strings"

// TopFolder is the first folder of an id, whose apps are of one tenant; empty for an app that is in none.
func TopFolder(id string) string {
	rest, ok := strings.CutPrefix(id, "/")
	folder, name, inside := strings.Cut(rest, "/")
	if !ok || !inside || name == "" {
		return ""
	}
	return folder
}

// AppRef names a port of another app, such as the one that signs people on.
type AppRef struct {
	// App is the id: "/platform/sso".
	App  string
	Port int `json:",omitempty"`
}

// Use is what a port asks of another app.
type Use struct {
	AppRef
	// Setting is the name of the one that asks for it, such as AUTH_APP, and Without says what happens while
	// the other app cannot be used.
	Setting, Without string
	// Redis is set if the port must speak the protocol of Redis; HTTP else.
	Redis bool
	// Optional is set if requests are served without it.
	Optional bool
	// Waits is set if requests wait for an answer of the other app. So they wake it.
	Waits bool
}

// Asked is a host outside that a port has Envoys ask.
type Asked struct {
	URL string
	// Setting is the name of the one that asks for it, such as JWT_JWKS, and Without says what happens while the
	// host may not be asked.
	Setting, Without string
}

// URLs returns which hosts outside a port has Envoys ask, and for what.
func (p *Port) URLs() (asked []Asked) {
	if p.HTTP != nil {
		asked = append(asked, p.HTTP.SignOn.urls()...)
	}
	return asked
}

// Uses returns what a port asks of other apps. Each app that is named decides whether it may: see Port.UsedBy.
func (p *Port) Uses() (uses []Use) {
	if p.HTTP != nil {
		uses = append(uses, p.HTTP.SignOn.uses()...)
		uses = append(uses, p.HTTP.Shaping.uses()...)
	}
	if p.TCP != nil {
		uses = append(uses, p.TCP.Redis.uses()...)
	}
	return uses
}
