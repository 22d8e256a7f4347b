package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"relay/internal/hostname"
)

// redirectCode is the status of all redirects: clients may remember them.
const redirectCode = routev3.RedirectAction_MOVED_PERMANENTLY

// httpsPort is not said in URLs.
const httpsPort = 443

// toHTTPS redirects plain HTTP of a domain to HTTPS. The port that the client named, if any,
// is that of plain HTTP: it is replaced by the public one of HTTPS.
func (b scopeBuilder) toHTTPS(domain string) *routev3.Route_Redirect {
	action := &routev3.RedirectAction{
		SchemeRewriteSpecifier: &routev3.RedirectAction_HttpsRedirect{HttpsRedirect: true},
		ResponseCode:           redirectCode,
	}
	if port := b.PublicHTTPSPort(); port != httpsPort {
		action.PortRedirect = uint32(port)
	}
	if _, wildcard := hostname.CutWildcard(domain); !wildcard {
		// Without it Envoy keeps the port that the client named.
		action.HostRedirect = domain
	}
	return &routev3.Route_Redirect{Redirect: action}
}

// locationBelow writes the location of a redirect by toHTTPS anew, if the domain is a wildcard
// and the port of HTTPS is not said. Envoy can replace the port of a host that it knows only
// from the request, but not leave it out.
func (b scopeBuilder) locationBelow(domain string) []*corev3.HeaderValueOption {
	if _, wildcard := hostname.CutWildcard(domain); !wildcard || b.PublicHTTPSPort() != httpsPort {
		return nil
	}
	const location = `https://%CEL(re.extract(request.host, '^([^:]*).*$', '\\1'))%%REQ(:path)%`
	return []*corev3.HeaderValueOption{headerOption("location", location, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)}
}

// toPath redirects to another path of the same host and port.
func toPath(path string) *routev3.Route_Redirect {
	return &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{
		PathRewriteSpecifier: &routev3.RedirectAction_PathRedirect{PathRedirect: path},
		ResponseCode:         redirectCode,
		StripQuery:           true,
	}}
}
