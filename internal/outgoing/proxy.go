// Package outgoing puts into words what is between Relay and a server that it reads from.
package outgoing

import (
	"fmt"
	"net/http"
	"net/url"
)

// ProxyNote says, in brackets, that requests for u go through a proxy that the environment
// names, and how to have them go without. It is empty if they do not. proxy is that of the
// http.Transport; nil is none. The proxy's credentials are not shown.
func ProxyNote(proxy func(*http.Request) (*url.URL, error), u *url.URL) string {
	if proxy == nil {
		return ""
	}
	through, err := proxy(&http.Request{URL: u})
	if err != nil || through == nil {
		return ""
	}
	variable := "HTTP_PROXY"
	if u.Scheme == "https" {
		variable = "HTTPS_PROXY"
	}
	return fmt.Sprintf(" (through the proxy %s, which %s in the environment names; to go without it, add %s to NO_PROXY)", through.Host, variable, u.Hostname())
}
