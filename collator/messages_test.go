package collator

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// everyMessage calls visit with a message and all that are in it, also those that are packed.
func everyMessage(t *testing.T, m proto.Message, visit func(proto.Message)) {
	t.Helper()
	visit(m)
	if packed, ok := m.(*anypb.Any); ok {
		inside, err := packed.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		everyMessage(t, inside, visit)
		return
	}
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				everyMessage(t, v.Message().Interface(), visit)
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range v.List().Len() {
				everyMessage(t, v.List().Get(i).Message().Interface(), visit)
			}
		case !field.IsMap() && !field.IsList() && field.Message() != nil:
			everyMessage(t, v.Message().Interface(), visit)
		}
		return true
	})
}
