package sources

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"relay/internal/problem"
)

// different returns a value that differs from v, of the same type.
func different(t *testing.T, v reflect.Value) reflect.Value {
	t.Helper()
	d := reflect.New(v.Type()).Elem()
	d.Set(v)
	switch v.Kind() {
	case reflect.String:
		d.SetString(v.String() + "x")
	case reflect.Bool:
		d.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		d.SetInt(v.Int() + 1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		d.SetUint(v.Uint() + 1)
	case reflect.Float64:
		d.SetFloat(v.Float() + 1)
	case reflect.Slice:
		d.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Pointer:
		if v.IsNil() {
			d.Set(reflect.New(v.Type().Elem()))
		} else {
			d.Set(reflect.Zero(v.Type()))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			d.Set(reflect.ValueOf(time.Unix(7, 0)))
			break
		}
		if v.Type() == reflect.TypeFor[Labels]() {
			d.Set(reflect.ValueOf(NewLabels([]Label{{"HAPROXY_GROUP", "external"}}, 0)))
			break
		}
		if v.Type() == reflect.TypeFor[netip.Addr]() {
			d.Set(reflect.ValueOf(netip.MustParseAddr("10.0.0.7")))
			break
		}
		d.Field(0).Set(different(t, v.Field(0)))
	default:
		t.Fatalf("no value that differs from a %s", v.Type())
	}
	return d
}

// wantEachFieldCounts sets the fields of a struct one after the other.
func wantEachFieldCounts(t *testing.T, at reflect.Value, equal func() bool) {
	t.Helper()
	for i := range at.NumField() {
		field := at.Field(i)
		before := reflect.New(field.Type()).Elem()
		before.Set(field)
		field.Set(different(t, field))
		if equal() {
			t.Errorf("a difference in %s.%s does not count", at.Type(), at.Type().Field(i).Name)
		}
		field.Set(before)
	}
	if !equal() {
		t.Errorf("equal values of %s differ", at.Type())
	}
}

func TestEqualKnowsAllFields(t *testing.T) {
	t.Parallel()
	filled := func() *App {
		n, d := uint32(1), time.Second
		return &App{ID: "/a", Deployment: &Deployment{Group: "g"}, Ports: []Port{{
			HTTP: &HTTP{Paths: []Path{{Prefix: "/x"}}, ClusterWeight: &n, Timeout: &d, BasicAuth: &BasicAuth{Hash: "h"},
				AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Hash: &Hash{By: HashHeader}},
			Upstream: &Upstream{TLS: &UpstreamTLS{SNI: "a"}}, TCP: &TCP{Port: 7}, Domains: []string{"a.test"},
			Endpoints: []Endpoint{{Address: netip.MustParseAddrPort("10.0.0.1:1"), Task: "t"}}, Excluded: []Excluded{{Task: "t"}},
		}}, Problems: []problem.Problem{{Subject: "HAPROXY_0_VHOST"}}}
	}
	a, b := filled(), filled()
	equal := func() bool { return a.Equal(b) }
	for _, at := range []any{
		a, a.Deployment, &a.Ports[0], a.Ports[0].HTTP, a.Ports[0].HTTP.BasicAuth, a.Ports[0].HTTP.Hash, &a.Ports[0].HTTP.Paths[0],
		&a.Ports[0].HTTP.RequestHeaders, a.Ports[0].Upstream, a.Ports[0].Upstream.TLS, a.Ports[0].TCP, &a.Ports[0].Excluded[0],
		&a.Problems[0],
	} {
		wantEachFieldCounts(t, reflect.ValueOf(at).Elem(), equal)
	}
	if a.Equal(nil) || (*App)(nil).Equal(b) || !(*App)(nil).Equal(nil) {
		t.Error("nil is equal to an app")
	}
}
