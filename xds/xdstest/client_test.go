package xdstest

import (
	"io"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// A response that came before the end of a stream is read before it, also by who looks when both are there.
func TestResponseBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for range 100 {
		c := &Client{t: t, replies: make(chan *discoveryv3.DeltaDiscoveryResponse, 1), ended: make(chan error, 1)}
		c.replies <- new(discoveryv3.DeltaDiscoveryResponse)
		c.ended <- io.EOF
		c.Next()
		if err := c.End(); err != io.EOF {
			t.Fatal(err)
		}
	}
}
