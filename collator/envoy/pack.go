// Package envoy makes the messages that Envoy is sent: one file a resource type, filter or
// option. Each message is a function of what package routing says of a fleet. Of package
// xds it uses the names of resources, and makes entries of a store of messages.
package envoy

import (
	"fmt"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// packer wraps messages in Any for one resource. It remembers the first error, so that a
// builder reads like the configuration that it makes.
type packer struct{ err error }

// pack validates msg and wraps it. The validation of the message around it does not look
// into an Any.
func (p *packer) pack(msg proto.Message) *anypb.Any {
	if p.err != nil {
		return nil
	}
	if p.err = validate(msg); p.err != nil {
		return nil
	}
	return p.marshal(msg)
}

// marshal wraps a message that has no rules for validation.
func (p *packer) marshal(msg proto.Message) *anypb.Any {
	// The version of a resource is a hash of its bytes: they must be the same in every
	// process.
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		p.err = fmt.Errorf("marshal %s: %w", msg.ProtoReflect().Descriptor().FullName(), err)
		return nil
	}
	return &anypb.Any{TypeUrl: typeURL(msg), Value: body}
}

// fail remembers an error that a builder found itself.
func (p *packer) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// packOnce returns a function that wraps a constant message, which must be valid.
func packOnce(msg proto.Message) func() *anypb.Any {
	return sync.OnceValue(func() *anypb.Any {
		var p packer
		packed := p.pack(msg)
		if p.err != nil {
			panic(p.err)
		}
		return packed
	})
}

// extension wraps the configuration of an extension.
func (p *packer) extension(name string, msg proto.Message) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{Name: name, TypedConfig: p.pack(msg)}
}

func typeURL(msg proto.Message) string {
	return "type.googleapis.com/" + string(msg.ProtoReflect().Descriptor().FullName())
}

// adsSource is the ADS stream, by which everything comes. Envoy waits for the first answer
// at most as long as timeout; 0 is without limit.
func adsSource(timeout time.Duration) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   durationpb.New(timeout),
	}
}

// discovery has the configuration of an extension, of one of these types, come by the ADS stream.
func discovery(configs ...proto.Message) *corev3.ExtensionConfigSource {
	source := &corev3.ExtensionConfigSource{ConfigSource: adsSource(15 * time.Second)}
	for _, config := range configs {
		source.TypeUrls = append(source.TypeUrls, typeURL(config))
	}
	return source
}

// plainText keeps Envoy from taking a text for a format.
func plainText(text string) string { return strings.ReplaceAll(text, "%", "%%") }
