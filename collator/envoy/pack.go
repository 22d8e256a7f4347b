package envoy

import (
	"fmt"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// packer wraps messages in Any for one resource and remembers the first thing
// that went wrong, so that a builder reads like the configuration it makes.
type packer struct{ err error }

// pack validates msg too: validation of the message around it does not look
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

// marshal is pack for messages that have no rules.
func (p *packer) marshal(msg proto.Message) *anypb.Any {
	// Versions are content hashes: the bytes must be the same in every process.
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		p.err = fmt.Errorf("marshal %s: %w", msg.ProtoReflect().Descriptor().FullName(), err)
		return nil
	}
	return &anypb.Any{TypeUrl: typeURL(msg), Value: body}
}

// fail notes an error of a builder's own.
func (p *packer) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// packOnce returns what packs a constant message; none is ever refused.
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

func (p *packer) extension(name string, msg proto.Message) *corev3.TypedExtensionConfig {
	return &corev3.TypedExtensionConfig{Name: name, TypedConfig: p.pack(msg)}
}

func typeURL(msg proto.Message) string {
	return "type.googleapis.com/" + string(msg.ProtoReflect().Descriptor().FullName())
}

// adsSource is the stream that brings everything. Envoy waits for the first
// answer at most timeout; 0 waits without limit.
func adsSource(timeout time.Duration) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   durationpb.New(timeout),
	}
}
