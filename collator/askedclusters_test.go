package collator

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// askedClusters calls a function with each cluster that filters within a message ask by HTTP.
func askedClusters(t *testing.T, msg proto.Message, asked func(cluster string)) {
	t.Helper()
	switch msg := msg.(type) {
	case *corev3.HttpUri:
		asked(msg.GetCluster())
		return
	case *anypb.Any:
		inner, err := msg.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		askedClusters(t, inner, asked)
		return
	}
	msg.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				askedClusters(t, v.Message().Interface(), asked)
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				askedClusters(t, value.List().Get(i).Message().Interface(), asked)
			}
		case !field.IsMap() && field.Message() != nil:
			askedClusters(t, value.Message().Interface(), asked)
		}
		return true
	})
}
