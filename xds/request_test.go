package xds

import (
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// FuzzRequest compares requests as they are read here with what protobuf makes
// of them.
func FuzzRequest(f *testing.F) {
	for _, msg := range []*discoveryv3.DeltaDiscoveryRequest{
		{},
		{TypeUrl: clusters, ResourceNamesSubscribe: []string{"a", "*"}, ResourceNamesUnsubscribe: []string{"b"}, ResponseNonce: "1"},
		{TypeUrl: scopes, InitialResourceVersions: map[string]string{"a": "0123456789abcdef", "b": "", "": "1"}},
		{TypeUrl: endpoints, ErrorDetail: &statuspb.Status{Code: 13, Message: "no"}},
	} {
		body, err := proto.Marshal(msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want discoveryv3.DeltaDiscoveryRequest
		wantErr := proto.Unmarshal(body, &want)
		var r request
		if err := r.unmarshal(body); (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v; protobuf has %v", err, wantErr)
		} else if err != nil {
			return
		}
		got := proto.CloneOf(&r.DeltaDiscoveryRequest)
		got.ResourceNamesSubscribe, got.ResourceNamesUnsubscribe = r.subscribe, r.unsubscribe
		for _, entry := range r.initial {
			if got.InitialResourceVersions == nil {
				got.InitialResourceVersions = make(map[string]string)
			}
			got.InitialResourceVersions[entry.name] = entry.version
		}
		if diff := cmp.Diff(&want, got, protocmp.Transform()); diff != "" {
			t.Errorf("request differs from protobuf's (-want +got):\n%s", diff)
		}
	})
}
