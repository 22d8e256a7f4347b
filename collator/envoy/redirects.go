package envoy

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

func (b scopeBuilder) redirect() *routev3.Route_Redirect {
	action := &routev3.RedirectAction{
		SchemeRewriteSpecifier: &routev3.RedirectAction_HttpsRedirect{HttpsRedirect: true},
		ResponseCode:           routev3.RedirectAction_MOVED_PERMANENTLY,
	}
	if port := b.RedirectPort(); port != 443 {
		action.PortRedirect = port
	}
	return &routev3.Route_Redirect{Redirect: action}
}
