package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"relay/internal/guard"
	"relay/internal/secret"
)

// Access says who may use the endpoint. The zero value lets everyone who can
// connect do everything.
type Access struct {
	// Token, when it returns one, is asked for: as "Authorization: Bearer", or
	// as the password of basic authentication, which browsers can send.
	Token func() secret.String
	// ClientCertificates asks for a client certificate that the TLS
	// configuration of the listener verified. With a token, either will do.
	ClientCertificates bool
	// VerifyAgain, unless nil, verifies at each request a certificate that was verified
	// when its client connected. An error refuses the request.
	VerifyAgain func(chains [][]*x509.Certificate) error
	// HookNetworks may post to the hooks without either, since marathon-acme
	// can show neither.
	HookNetworks []netip.Prefix
	// ThisMachine is for an endpoint that listens on loopback and asks for
	// nothing: requests for a host of another name are refused. A page in a browser
	// on this machine makes such requests, as if of its own site, after its name
	// was given the address 127.0.0.1 ("DNS rebinding").
	ThisMachine bool
}

// open are the paths that load balancers and Marathon's health checks ask for.
var open = []string{"/healthz", "/readyz"}

// restrict refuses requests that Access does not allow.
func (a Access) restrict(next http.Handler, refusals *guard.Log) http.Handler {
	if a.Token == nil && !a.ClientCertificates && len(a.HookNetworks) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(open, r.URL.Path) || a.allows(r) {
			next.ServeHTTP(w, r)
			return
		}
		if refusal, ok := a.refusal(r); ok {
			refusals.Refuse(r.RemoteAddr, refusal)
		}
		if a.Token != nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="Relay", charset="UTF-8"`)
			plain(w, http.StatusUnauthorized, "a token is needed: Authorization: Bearer, or as a password with any user name")
			return
		}
		plain(w, http.StatusForbidden, "not allowed from "+r.RemoteAddr)
	})
}

// restrictHosts refuses requests for hosts of other names, where that is asked for.
func (a Access) restrictHosts(next http.Handler, refusals *guard.Log) http.Handler {
	if !a.ThisMachine {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ofThisMachine(r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		refusals.Refuse(r.RemoteAddr, guard.Refusal{Kind: guard.Access, Who: "host", Reason: fmt.Sprintf(
			"it asks for the host %.200q, as a page of another site in a browser does: ask for 127.0.0.1 or localhost, or set --admin-token-file", r.Host)})
		plain(w, http.StatusForbidden, "not by this name: ask for 127.0.0.1 or localhost")
	})
}

// ofThisMachine reports whether a Host header names no other machine: an address
// cannot be given another meaning, and a browser sends what it was told to ask.
func ofThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost" || host == "" // HTTP/1.0, which no browser speaks
}

// refusal says what is wrong with a request that is refused. It is not ok for
// one that only lacks a token: browsers always begin so.
func (a Access) refusal(r *http.Request) (guard.Refusal, bool) {
	switch {
	case a.Token != nil && r.Header.Get("Authorization") != "":
		return guard.Refusal{Kind: guard.Token, Reason: "it shows a wrong token: compare it with the one in --admin-token-file"}, true
	case strings.HasPrefix(r.URL.Path, hookPrefix):
		return guard.Refusal{Kind: guard.Access, Who: hookPrefix, Reason: "it may not call the hooks: if it is marathon-acme, add its network to --signal-networks"}, true
	case a.Token == nil:
		return guard.Refusal{Kind: guard.Access, Reason: "it shows no client certificate, or one that is not good any more: give it one of the authorities in --admin-client-ca"}, true
	}
	return guard.Refusal{}, false
}

func (a Access) allows(r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, hookPrefix) && a.fromHookNetwork(r.RemoteAddr) {
		return true
	}
	if a.showsCertificate(r) {
		return true
	}
	if a.Token != nil {
		return a.shown(r)
	}
	// Only the hooks are restricted.
	return !a.ClientCertificates && !strings.HasPrefix(r.URL.Path, hookPrefix)
}

// restricts reports whether not everybody who can connect may use the endpoint, other machines among them.
func (a Access) restricts() bool { return a.Token != nil || a.ClientCertificates || a.ThisMachine }

// stillAllows reports whether a request that was let in would be let in now.
func (a Access) stillAllows(r *http.Request) bool {
	return a.Token == nil && !a.ClientCertificates && len(a.HookNetworks) == 0 || a.allows(r)
}

func (a Access) showsCertificate(r *http.Request) bool {
	if !a.ClientCertificates || r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return false
	}
	return a.VerifyAgain == nil || a.VerifyAgain(r.TLS.VerifiedChains) == nil
}

func (a Access) fromHookNetwork(remote string) bool {
	from, err := netip.ParseAddrPort(remote)
	return err == nil && slices.ContainsFunc(a.HookNetworks, func(network netip.Prefix) bool {
		return network.Contains(from.Addr().Unmap())
	})
}

func (a Access) shown(r *http.Request) bool {
	shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		_, shown, ok = r.BasicAuth()
	}
	want := a.Token()
	// Of hashes, since comparing takes longer the longer a token is.
	got, hashed := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(want))
	return ok && want != "" && subtle.ConstantTimeCompare(got[:], hashed[:]) == 1
}
