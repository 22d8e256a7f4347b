package envoy

import (
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"relay/collator/routing"
	"relay/internal/panics"
	"relay/xds"
)

// Resource validates and marshals a message, for the store of a fleet.
func Resource(key xds.Key, msg proto.Message) (xds.Resource, error) {
	if err := validate(msg); err != nil {
		return xds.Resource{}, err
	}
	return xds.NewResource(key.Type, key.Name, msg)
}

// passing makes a resource of what is so for a while on this Relay alone.
func passing(key xds.Key, msg proto.Message) (xds.Resource, error) {
	resource, err := Resource(key, msg)
	if err != nil {
		return resource, err
	}
	return resource.Passing(), nil
}

// validate applies the rules of Envoy's API definition, which Envoy applies too.
func validate(msg proto.Message) error {
	v, ok := msg.(interface{ Validate() error })
	if !ok {
		return fmt.Errorf("%s cannot be validated", msg.ProtoReflect().Descriptor().FullName())
	}
	// The first fault only: there may be thousands.
	if err := v.Validate(); err != nil {
		return fmt.Errorf("is not valid for Envoy: %w", err)
	}
	return nil
}

// CheckRules says why no scope of a domain can be made of these rules; nil if one can.
func CheckRules(f *routing.Fleet, domain string, rules []routing.Rule) error {
	return panics.Catch(func() error {
		scope, err := Scope(f, routing.DomainRoutes{Domain: domain, Rules: rules})
		if err == nil {
			_, err = Resource(xds.Key{Type: xds.Scope, Name: domain}, scope)
		}
		return err
	})
}

// CheckPassthrough says why the TLS of a service cannot be passed through by the https
// listener; nil if it can.
func CheckPassthrough(f *routing.Fleet, s routing.Service) error {
	return checkFilterChain(func(p *packer) *listenerv3.FilterChain { return passedChain(p, f, s) })
}

// CheckChain says why a certificate cannot be part of the https listener; nil if it can.
func CheckChain(f *routing.Fleet, chain routing.TLSChain) error {
	return checkFilterChain(func(p *packer) *listenerv3.FilterChain {
		return filterChain(p, f, chain, &listenerv3.Filter{Name: "http_connection_manager"})
	})
}

// checkFilterChain says why a filter chain cannot be part of any listener.
func checkFilterChain(build func(*packer) *listenerv3.FilterChain) error {
	return panics.Catch(func() error {
		var p packer
		p.pack(build(&p))
		return p.err
	})
}
