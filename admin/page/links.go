package page

import (
	"net/url"
	"strings"
)

// appURL is the page of an app, such as "/apps/shop/web".
func appURL(id string) string { return "/apps" + escaped("/"+strings.TrimLeft(id, "/")) }

// domainURL is the page of a domain.
func domainURL(name string) string { return "/domains/" + url.PathEscape(name) }

// envoyURL is the page of an Envoy.
func envoyURL(fleet, id string) string { return "/envoys/" + url.PathEscape(fleet) + escaped("/"+id) }

// certificateURL is the page of a certificate by its source and its name there.
func certificateURL(source, name string) string {
	return "/certificates/" + url.PathEscape(source) + escaped("/"+strings.TrimLeft(name, "/"))
}

// certificatePath is certificateURL of both in one text, as the API has it.
func certificatePath(name string) string {
	source, rest, _ := strings.Cut(name, "/")
	return certificateURL(source, rest)
}

// escaped escapes each part of a path.
func escaped(path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// subjectURL is the page of what a group of problems is about; empty for none.
func subjectURL(about, subject string) string {
	switch about {
	case "app":
		return appURL(subject)
	case "domain":
		return domainURL(subject)
	}
	return ""
}

// dumpURL has the whole of a resource of a fleet, as Envoy's own /config_dump shows it.
func dumpURL(fleet, resourceType, name string) string {
	return "/api/v1/config-dump?" + url.Values{"fleet": {fleet}, "type": {resourceType}, "name": {name}}.Encode()
}

// codeURL lists the failures of a code.
func codeURL(code string) string { return "/failures?" + url.Values{"code": {code}}.Encode() }
