package envoy

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	statefulsessionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	cookiestatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/cookie/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/type/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/sources"
)

// stickyCookie begins the names of session cookies. marathon-lb calls all of them so.
const stickyCookie = "mesosphere_server_id"

// cookieOf returns the name of the cookie that has the instance of a client. Each cluster has
// its own: clients send all cookies of a domain to all its apps, so the apps would overwrite
// a cookie that they share, and send the client to another instance each time.
func cookieOf(cluster string) string {
	sum := sha256.Sum256([]byte(cluster))
	return stickyCookie + "_" + hex.EncodeToString(sum[:4])
}

// routeFilters returns the filters that a route asks for, of requests to a cluster. Those
// that keep requests out come first, of those that decide at once; then all others that decide at once, and
// then those that may wait. So all that read metadata of the route are in the first chain, after whose
// filter the metadata is called.
func (b scopeBuilder) routeFilters(p *packer, r routing.Rule, cluster string) map[string]*anypb.Any {
	c := b.filtersOf(p, r, cluster)
	if wakesAsked(r) && c.tooMany() {
		// There is no room to wait until the app is awake that is asked: as long as it sleeps the answer is 503.
		r.References = maps.Clone(r.References)
		asked := r.References[r.HTTP.SignOn.App.AppRef]
		asked.Gated = false
		r.References[r.HTTP.SignOn.App.AppRef] = asked
		c = b.filtersOf(p, r, cluster)
	}
	return c.perRoute()
}

func (b scopeBuilder) filtersOf(p *packer, r routing.Rule, cluster string) *filterChains {
	h := r.HTTP
	c := filterChains{p: p}
	if len(h.AllowedNetworks) > 0 {
		c.add("rbac", allowOnly(h.AllowedNetworks))
	}
	limitFilters(&c, h.RequestLimits)
	if a := h.BasicAuth; a != nil && a.EnvoyChecks() {
		c.add("basic_auth", basicAuth(a))
	}
	if h.Sticky {
		c.add("stateful_session", &statefulsessionv3.StatefulSession{
			SessionState: p.extension("envoy.http.stateful_session.cookie", &cookiestatev3.CookieBasedSessionState{
				Cookie: &httpv3.Cookie{Name: cookieOf(cluster), Path: "/"},
			}),
		})
	}
	shapingFilters(&c, shaping(r))
	if h.LocationPrefix != "" {
		c.add("location", prefixLocation())
	}
	if h.Hash != nil && h.Hash.By == sources.HashSubdomain {
		c.add("subdomain", keepSubdomain(p))
	}
	if b.looksAtNetworks(r) {
		c.add("client", keepClient())
	}
	limitSmallBodies(&c, h.RequestLimits)
	if a := h.BasicAuth; a != nil && !a.EnvoyChecks() {
		c.addWaiting("password", relayPasswords(p, b.Fleet, r.Claim))
	}
	signOnFilters(&c, b.Fleet, r)
	b.logIn(&c, r)
	b.countEverywhere(&c, r)
	limitLargeBodies(&c, h.RequestLimits)
	b.addFault(&c, shaping(r).Fault)
	return &c
}

// allowOnly lets in clients of these networks. Who the client is says trustProxies.
func allowOnly(networks []netip.Prefix) *rbacv3.RBAC {
	policy := &rbacconfigv3.Policy{
		Permissions: []*rbacconfigv3.Permission{{Rule: &rbacconfigv3.Permission_Any{Any: true}}},
	}
	for _, network := range networks {
		policy.Principals = append(policy.Principals, &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_RemoteIp{
			RemoteIp: &corev3.CidrRange{
				AddressPrefix: network.Addr().String(),
				PrefixLen:     wrapperspb.UInt32(uint32(network.Bits())),
			},
		}})
	}
	return &rbacv3.RBAC{Rules: &rbacconfigv3.RBAC{
		Action:   rbacconfigv3.RBAC_ALLOW,
		Policies: map[string]*rbacconfigv3.Policy{"networks": policy},
	}}
}

// locationScript puts the prefix in front of the path of Location headers that
// lead to the host of the request, unless it is there already.
const locationScript = `
local function host_of(authority)
  return authority:lower():gsub(":%d*$", "")
end

function envoy_on_request(handle)
  local authority = handle:headers():get(":authority")
  if authority ~= nil then
    handle:streamInfo():dynamicMetadata():set("relay.location", "host", (host_of(authority)))
  end
end

function envoy_on_response(handle)
  local location = handle:headers():get("location")
  local asked = handle:streamInfo():dynamicMetadata():get("relay.location")
  if location == nil or asked == nil then
    return
  end
  local path = location
  local authority, rest = location:match("^[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)(.*)$")
  if authority ~= nil then
    if host_of(authority) ~= asked["host"] then
      return
    end
    path = rest
    if path:sub(1, 1) ~= "/" then
      path = "/" .. path
    end
  elseif path:sub(1, 1) ~= "/" or path:sub(1, 2) == "//" then
    return
  end
  local prefix = handle:metadata():get("prefix")
  if prefix == nil then
    return
  end
  local after = path:sub(#prefix + 1, #prefix + 1)
  if path:sub(1, #prefix) == prefix and (after == "" or after:find("[/?#]")) then
    return
  end
  handle:headers():replace("location", prefix .. path)
end
`

// LocationScriptSize is how many bytes the script takes in a route.
const LocationScriptSize = len(locationScript)

// prefixLocation makes the filter with locationScript. All routes share one Lua machine for
// each worker.
func prefixLocation() *luav3.Lua {
	return &luav3.Lua{
		DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: locationScript}},
		ClearRouteCache:   wrapperspb.Bool(false),
		SharedVmId:        "location",
	}
}
