package xds

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// notServed are the types of go-control-plane that Relay does not serve, and why.
var notServed = map[string]string{
	resource.RouteType:           "scopes have their routes inline",
	resource.VirtualHostType:     "scopes have their routes inline",
	resource.RuntimeType:         "nothing is set at runtime",
	resource.ThriftRouteType:     "no Thrift",
	resource.RateLimitConfigType: "it is for the rate limit service, not for Envoy",
	resource.AnyType:             "it is no type of a resource",
}

// Every type has an answer to each question of the table, and a place in the order.
func TestTypesAreComplete(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, typ := range Types() {
		info := reflect.ValueOf(*typ.info())
		for i := range info.NumField() {
			field := info.Type().Field(i).Name
			if field == "mark" {
				if marks := !info.Field(i).IsNil(); marks != (typ.info().skipsEqual == yes) {
					t.Errorf("%s: skipsEqual and mark do not agree", typ)
				}
			} else if info.Field(i).IsZero() {
				t.Errorf("%s: the table does not say %s", typ, field)
			}
		}
		if got, ok := TypeOf(typ.URL()); !ok || got != typ {
			t.Errorf("%s: its URL %q is that of %s", typ, typ.URL(), got)
		}
		if names[typ.String()] {
			t.Errorf("two types are called %s", typ)
		}
		names[typ.String()] = true
		place := slices.Index(sendOrder[:], typ)
		if place < 0 {
			t.Fatalf("%s has no place in sendOrder", typ)
		}
		for _, w := range typ.info().sentAfter {
			if slices.Index(sendOrder[:], w.of) > place {
				t.Errorf("%s wait for %s, which are sent later", typ, w.of)
			}
		}
	}
}

// The name of a resource is the first field of its message, where aliases replace it.
func TestNamesOfResources(t *testing.T) {
	t.Parallel()
	for _, typ := range Types() {
		msg, err := protoregistry.GlobalTypes.FindMessageByURL(typ.URL())
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		field := msg.Descriptor().Fields().ByNumber(fieldName)
		if field == nil || field.Kind() != protoreflect.StringKind || !strings.HasSuffix(string(field.Name()), "name") {
			t.Errorf("%s: field %d is %v, want its name", typ, fieldName, field)
		}
	}
}

// A resource can be made and marked, whatever its type.
func TestResourcesOfAllTypes(t *testing.T) {
	t.Parallel()
	for _, typ := range Types() {
		r := testResource(t, typ, "a", "content")
		if typ.info().skipsEqual == no {
			continue
		}
		marked := withMarker(typ, r.wire, "marker").Materialize()
		if !strings.Contains(string(marked), "marker") {
			t.Errorf("%s: a resource that Envoy is to read is sent as %q", typ, marked)
		}
	}
}

// Each type that go-control-plane knows is served, or listed as not served.
func TestTypesOfGoControlPlane(t *testing.T) {
	t.Parallel()
	served := make(map[string]bool)
	for _, typ := range Types() {
		served[typ.URL()] = true
	}
	known := knownTypeURLs(t)
	if len(known) < len(served) {
		t.Fatalf("only %v were found", known)
	}
	for name, url := range known {
		if _, not := notServed[url]; not == served[url] {
			t.Errorf("%s (%q): it is either in typeInfos or in notServed", name, url)
		}
	}
	urls := slices.Collect(maps.Values(known))
	for url := range notServed {
		if !slices.Contains(urls, url) {
			t.Errorf("%q is not a type any more", url)
		}
	}
}

// knownTypeURLs reads the constants of go-control-plane's package resource.
func knownTypeURLs(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/envoyproxy/go-control-plane/pkg/resource/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(out)), "resource.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasSuffix(spec.Names[0].Name, "Type") {
			return true
		}
		name, prefix, value := spec.Names[0].Name, "", spec.Values[0]
		if sum, ok := value.(*ast.BinaryExpr); ok {
			prefix, value = resource.APITypePrefix, sum.Y
		}
		text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		known[name] = prefix + text
		return true
	})
	return known
}
