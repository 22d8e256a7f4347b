package envoy

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// redirectCode is the status of all redirects: clients may remember them.
const redirectCode = routev3.RedirectAction_MOVED_PERMANENTLY

// toHTTPS redirects plain HTTP to the https listener.
func (b scopeBuilder) toHTTPS() *routev3.Route_Redirect {
	action := &routev3.RedirectAction{
		SchemeRewriteSpecifier: &routev3.RedirectAction_HttpsRedirect{HttpsRedirect: true},
		ResponseCode:           redirectCode,
	}
	if port := b.RedirectPort(); port != 443 {
		action.PortRedirect = port
	}
	return &routev3.Route_Redirect{Redirect: action}
}

// toPath redirects to another path of the same host.
func toPath(path string) *routev3.Route_Redirect {
	return &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{
		PathRewriteSpecifier: &routev3.RedirectAction_PathRedirect{PathRedirect: path},
		ResponseCode:         redirectCode,
		StripQuery:           true,
	}}
}
