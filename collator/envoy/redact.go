package envoy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/cncf/xds/go/udpa/annotations"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"relay/xds"
)

// redacted is in place of what is secret. Envoy's own admin endpoint has the same words.
const redacted = "[redacted]"

var (
	// secretHeader are the names of headers whose values are not shown: apps add what they like.
	secretHeader = regexp.MustCompile(`(?i)auth|token|secret|key|passw|cookie|credential|signature|session|jwt|bearer`)
	// userinfo is that of a URL, up to the last "@" before the path.
	userinfo = regexp.MustCompile(`://[^/\s"']*@`)
	// query is what follows the path of a URL.
	query = regexp.MustCompile(`\?[^\s#"]+`)
)

// Redact takes what is secret out of a message of Envoy, in place: the fields that Envoy's API
// definition marks as sensitive (private keys, keys of session tickets, users with their
// passwords), the values of headers that may be credentials, and credentials and queries in URLs.
// See https://github.com/cncf/xds/blob/main/udpa/annotations/sensitive.proto
func Redact(msg proto.Message) { redactMessage(msg.ProtoReflect(), false) }

// redactMessage takes all values out of a message that is secret as a whole.
func redactMessage(m protoreflect.Message, secret bool) {
	switch typed := m.Interface().(type) {
	case *anypb.Any:
		redactAny(typed, secret)
		return
	case *corev3.HeaderValue:
		if secretHeader.MatchString(typed.GetKey()) {
			hideHeader(typed)
			return
		}
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		secret := secret || proto.GetExtension(fd.Options(), annotations.E_Sensitive).(bool)
		switch {
		case fd.IsList():
			list := v.List()
			for i := range list.Len() {
				if changed, ok := redactValue(fd, list.Get(i), secret); ok {
					list.Set(i, changed)
				}
			}
		case fd.IsMap():
			v.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
				if changed, ok := redactValue(fd.MapValue(), value, secret); ok {
					v.Map().Set(key, changed)
				}
				return true
			})
		default:
			if changed, ok := redactValue(fd, v, secret); ok {
				m.Set(fd, changed)
			}
		}
		return true
	})
}

// redactValue returns what is to stand in place of a value, if that is not to stay.
func redactValue(fd protoreflect.FieldDescriptor, v protoreflect.Value, secret bool) (changed protoreflect.Value, ok bool) {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		redactMessage(v.Message(), secret)
		return v, false
	case protoreflect.StringKind:
		text := v.String()
		if secret {
			return protoreflect.ValueOfString(redacted), true
		}
		hidden := userinfo.ReplaceAllString(text, "://"+redacted+"@")
		if isAddress(fd) {
			hidden = query.ReplaceAllString(hidden, "?"+redacted)
		}
		return protoreflect.ValueOfString(hidden), hidden != text
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(redacted)), secret
	}
	return fd.Default(), secret && fd.Kind() != protoreflect.EnumKind
}

// isAddress reports whether a field may have a URL, or a part of one, that an app chose.
func isAddress(fd protoreflect.FieldDescriptor) bool {
	switch fd.FullName() {
	case "envoy.config.route.v3.RedirectAction.path_redirect", "envoy.config.route.v3.RedirectAction.host_redirect",
		"envoy.config.core.v3.HeaderValue.value", "envoy.config.core.v3.HttpUri.uri",
		"envoy.extensions.filters.http.ext_authz.v3.HttpService.path_override",
		"envoy.extensions.filters.http.oauth2.v3.OAuth2Config.authorization_endpoint",
		"envoy.extensions.filters.http.oauth2.v3.OAuth2Config.end_session_endpoint":
		return true
	}
	return false
}

func hideHeader(h *corev3.HeaderValue) {
	if h.Value != "" {
		h.Value = redacted
	}
	if len(h.RawValue) > 0 {
		h.RawValue = []byte(redacted)
	}
}

// redactAny redacts what is within. Of a message of an unknown type nothing is left.
func redactAny(within *anypb.Any, secret bool) {
	if within.GetTypeUrl() == "" {
		return
	}
	msg, err := within.UnmarshalNew()
	if err != nil {
		proto.Reset(within)
		return
	}
	redactMessage(msg.ProtoReflect(), secret)
	if err := anypb.MarshalFrom(within, msg, proto.MarshalOptions{Deterministic: true}); err != nil {
		proto.Reset(within)
	}
}

// jsonOptions has the names of fields that are those of Envoy's own admin endpoint.
var jsonOptions = protojson.MarshalOptions{UseProtoNames: true}

// RedactedJSON returns a marshalled resource as Envoy's admin endpoint shows it, with its "@type", without
// what is secret.
func RedactedJSON(t xds.Type, body []byte) (json.RawMessage, error) {
	within := &anypb.Any{TypeUrl: t.URL(), Value: body}
	if _, err := protoregistry.GlobalTypes.FindMessageByURL(t.URL()); err != nil {
		return nil, fmt.Errorf("show a resource of %s: %w", t, err)
	}
	redactAny(within, false)
	if within.GetTypeUrl() == "" {
		return nil, fmt.Errorf("show a resource of %s: it cannot be read", t)
	}
	text, err := jsonOptions.Marshal(within)
	if err != nil {
		return nil, fmt.Errorf("show a resource of %s: %w", t, err)
	}
	var compact bytes.Buffer // protojson puts spaces at random places
	if err := json.Compact(&compact, text); err != nil {
		return nil, fmt.Errorf("show a resource of %s: %w", t, err)
	}
	return compact.Bytes(), nil
}
