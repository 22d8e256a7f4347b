package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/xds"
)

// expressionsSince is the minor version of Envoy 1 from which on the expressions of HostsFilter
// may use functions of strings.
const expressionsSince = 40

// plainHostScript sets scopeHeader to what plainHost says, and has Envoy look for the route
// again.
const plainHostScript = `
function envoy_on_request(handle)
  local host = handle:headers():get(":authority")
  if host ~= nil then
    handle:headers():replace("` + scopeHeader + `", ((host:lower() .. ":"):gsub("%.:", ":")))
    handle:clearRouteCache()
  end
end
`

// olderHostsFilter is HostsFilter for Envoys whose expressions cannot change a text to lower
// case. A script does that, which takes some 0.7 MB for each filter chain.
//
// Envoys before 1.38 know no chains of filters. They ignore the chain, as they ignore all fields
// that they do not know, and run the script alone. So hosts below a wildcard domain get 404
// there. Envoys that know chains run the chain.
func olderHostsFilter() (*corev3.TypedExtensionConfig, error) {
	var p packer
	script := p.extension("scope", &luav3.Lua{
		DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: plainHostScript}},
		ClearRouteCache:   wrapperspb.Bool(false),
	})
	config := hostsFilter(&p, script, script)
	return config, p.err
}

// hostsResource makes the hosts filter, for the store of a fleet. It has two variants.
func hostsResource() (xds.Resource, error) {
	key := xds.Key{Type: xds.ExtensionConfig, Name: routing.HostsFilter}
	msg, err := HostsFilter()
	if err != nil {
		return xds.Resource{}, err
	}
	filter, err := Resource(key, msg)
	if err != nil {
		return xds.Resource{}, err
	}
	if msg, err = olderHostsFilter(); err != nil {
		return xds.Resource{}, err
	}
	older, err := Resource(key, msg)
	return filter.OrWithout(xds.Since(expressionsSince), older), err
}
