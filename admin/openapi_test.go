package admin

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"flag"
	"maps"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/problem"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// The document that is served says what the table of routes and the types of the answers say.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	text, err := json.MarshalIndent(document(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(string(text), string(openapiDocument)); diff != "" {
		t.Errorf("openapi.json is not what the code says (-want +got): write it anew by go test ./admin -run TestOpenAPI -update\n%s", diff)
	}
	w := httptest.NewRecorder()
	New(newConfig(fakeViews{}), nil).Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://relay.test/api/v1/openapi.json", nil))
	if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), openapiDocument) {
		t.Errorf("served with %d: %.100s", w.Code, w.Body)
	}
}

type object = map[string]any

// document makes the OpenAPI document.
func document(t *testing.T) object {
	schemas := &schemas{t: t, made: object{}, docs: commentsOf(t, "api", "../collator/explain", "../internal/problem", "../scaling/peers", "../xds")}
	paths := object{}
	for _, route := range New(newConfig(fakeViews{}), nil).table() {
		path := regexp.MustCompile(`\.\.\.\}`).ReplaceAllString(route.Path, "}")
		method := strings.ToLower(cmp.Or(route.Method, "GET"))
		paths[path] = object{method: operation(route, schemas)}
	}
	schemas.of(reflect.TypeFor[api.Error]())
	for _, event := range []any{api.Change{}, api.Failure{}, api.ProblemEvent{}, api.Request{}, api.Diff{}} {
		schemas.of(reflect.TypeOf(event))
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Relay", "version": "v1",
			"description": "What a Relay knows of its apps, domains, certificates and Envoys, for reading, and the steps of deployments. Fields are added at any time, and none is taken away.",
		},
		"paths": paths,
		"components": object{
			"schemas": schemas.made,
			"securitySchemes": object{
				"token":    object{"type": "http", "scheme": "bearer"},
				"password": object{"type": "http", "scheme": "basic", "description": "The token as the password of any user."},
			},
		},
		"security": []any{object{}, object{"token": []any{}}, object{"password": []any{}}},
	}
}

func operation(route route, s *schemas) object {
	content := object{route.Stream: object{"schema": object{"type": "string"}}}
	if route.Stream == "" {
		content = object{"application/json": object{"schema": s.of(reflect.TypeOf(route.Answer))}}
	}
	answers := object{
		"200": object{"description": route.Summary + ".", "content": content},
		"400": problemAnswer("A parameter is not allowed."),
		"401": object{"description": "A token is needed."},
		"403": object{"description": "The client is not allowed."},
		"503": object{"description": "Too many requests are being answered: ask again later."},
	}
	if route.Method == "POST" {
		answers["403"] = problemAnswer("The client is not allowed, or this Relay may not change apps.")
		answers["409"] = problemAnswer("Somebody else changes, or has changed, what the step is about.")
		answers["502"] = problemAnswer("The source did not make the change.")
	} else if route.Stream == "" {
		answers["304"] = object{"description": "What If-None-Match names is still true."}
	}
	if route.Missing {
		answers["404"] = problemAnswer("There is no such thing.")
	}
	op := object{"summary": route.Summary, "operationId": operationID(route.Path), "responses": answers}
	if params := append(pathParameters(route), queryParameters(route)...); len(params) > 0 {
		op["parameters"] = params
	}
	return op
}

func problemAnswer(text string) object {
	return object{"description": text, "content": object{"application/json": object{"schema": object{}}}}
}

func operationID(path string) string {
	words := regexp.MustCompile(`[A-Za-z]+`).FindAllString(strings.TrimPrefix(path, "/api/v1/"), -1)
	for i := range words[1:] {
		words[i+1] = strings.ToUpper(words[i+1][:1]) + words[i+1][1:]
	}
	return strings.Join(words, "")
}

func pathParameters(route route) (params []any) {
	for _, m := range regexp.MustCompile(`\{([a-z]+)`).FindAllStringSubmatch(route.Path, -1) {
		p := object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string", "minLength": 1}}
		if example := route.Examples[m[1]]; example != "" {
			p["example"] = example
		}
		params = append(params, p)
	}
	return params
}

func queryParameters(route route) (params []any) {
	for _, p := range route.Params {
		schema := object{"type": "string", "maxLength": cmp.Or(p.Length, maxText), "pattern": `^[^\u0000]*$`}
		switch {
		case p.Max > 0:
			if schema = (object{"type": "integer", "minimum": 1, "maximum": p.Max}); p.Default > 0 {
				schema["default"] = p.Default
			}
		case len(p.Values) > 0:
			schema = object{"type": "string", "enum": p.Values, "default": p.Values[0]}
		}
		one := object{"name": p.Name, "in": "query", "description": p.Text, "schema": schema}
		if p.Required {
			schema["pattern"], one["required"] = `^[^\u0000]*\S[^\u0000]*$`, true
		}
		params = append(params, one)
	}
	return params
}

// schemas makes schemas of Go types.
type schemas struct {
	t    *testing.T
	made object
	docs map[string]string // by type, or type and field
}

// enums are the values of types that have few.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[api.DomainStatus](): domainStatusParam.Values[1:],
	reflect.TypeFor[api.EnvoyState]():   envoyStateParam.Values[1:],
	reflect.TypeFor[problem.Severity](): severityParam.Values[1:],
	reflect.TypeFor[explain.Outcome]():  {string(explain.Serves), string(explain.Loses)},
}

func (s *schemas) of(t reflect.Type) object {
	number := object{"type": []string{"number", "null"}}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{}
	case t == reflect.TypeFor[api.Value]():
		return number
	case t == reflect.TypeFor[api.Values]():
		return object{"type": "array", "items": number}
	case enums[t] != nil:
		return object{"type": "string", "enum": enums[t]}
	case t.Kind() != reflect.Struct && t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return object{"type": "object"}
		}
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.ref(t)
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Uint64, reflect.Uint32, reflect.Uint16:
		return object{"type": "integer", "minimum": 0}
	case reflect.Int:
		return object{"type": "integer"}
	}
	s.t.Errorf("no schema for the type %s", t)
	return object{}
}

// ref names the schema of a struct, and makes it if there is none yet.
func (s *schemas) ref(t reflect.Type) object {
	name := t.Name()
	if pkg := t.PkgPath(); !strings.HasSuffix(pkg, "/api") {
		pkg = pkg[strings.LastIndex(pkg, "/")+1:]
		if name = strings.ToUpper(pkg[:1]) + pkg[1:] + name; strings.HasPrefix(name, "ProblemProblem") {
			name = "Problem"
		}
	}
	ref := object{"$ref": "#/components/schemas/" + name}
	if s.made[name] != nil {
		return ref
	}
	schema := object{"type": "object"}
	s.made[name] = schema
	properties, required := object{}, []string{}
	s.fields(t, properties, &required)
	if schema["properties"] = properties; len(required) > 0 {
		slices.Sort(required)
		schema["required"] = required
	}
	if doc := s.docs[t.Name()]; doc != "" {
		schema["description"] = doc
	}
	return ref
}

func (s *schemas) fields(t reflect.Type, properties object, required *[]string) {
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			s.fields(field.Type, properties, required)
			continue
		case name == "-" || !field.IsExported() && !field.Anonymous:
			continue
		case name == "":
			s.t.Errorf("the field %s of %s has no name in JSON", field.Name, t)
		}
		schema := s.of(field.Type)
		if field.Name == "Explanation" {
			schema = s.of(reflect.TypeFor[explain.Explanation]())
		}
		if field.Tag.Get("openapi") == "null" {
			schema["type"] = []string{schema["type"].(string), "null"}
		}
		if doc := s.docs[t.Name()+"."+field.Name]; doc != "" {
			schema["description"] = doc
		}
		properties[name] = schema
		if options == "" {
			*required = append(*required, name)
		}
	}
}

// Each field of an answer of the server is in the document, and each path is answered.
func TestOpenAPICoversAnswers(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths      map[string]any
		Components struct{ Schemas map[string]object }
	}
	if err := json.Unmarshal(openapiDocument, &doc); err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadDir("../testdata/admin")
	if err != nil {
		t.Fatal(err)
	}
	roots := map[string]string{"app": "AppStory", "domain": "DomainStory", "envoy": "EnvoyStory", "certificate": "CertificateStory", "explain": "ExplainExplanation"}
	for _, file := range golden {
		name := strings.TrimSuffix(file.Name(), ".json")
		text, err := os.ReadFile("../testdata/admin/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		root := cmp.Or(roots[name], strings.ToUpper(name[:1])+name[1:])
		if doc.Components.Schemas[root] == nil {
			t.Errorf("%s has no schema %s", file.Name(), root)
		}
		var value any
		if err := json.Unmarshal(regexp.MustCompile(`: (N|VALUES)\b`).ReplaceAll(text, []byte(": 1")), &value); err != nil {
			t.Fatalf("%s: %v", file.Name(), err)
		}
		covers(t, name, value, object{"$ref": "#/components/schemas/" + root}, doc.Components.Schemas)
	}
	if len(doc.Paths) < 15 || len(golden) < 10 {
		t.Errorf("only %d paths and %d answers were looked at", len(doc.Paths), len(golden))
	}
}

func covers(t *testing.T, at string, value any, schema object, schemas map[string]object) {
	if ref, ok := schema["$ref"].(string); ok {
		schema = schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	}
	switch v := value.(type) {
	case []any:
		items, _ := schema["items"].(object)
		for _, one := range v {
			covers(t, at, one, items, schemas)
		}
	case object:
		properties, _ := schema["properties"].(object)
		for _, name := range slices.Sorted(maps.Keys(v)) {
			property, ok := properties[name].(object)
			if !ok {
				if property, ok = schema["additionalProperties"].(object); !ok {
					t.Errorf("%s.%s is not in the document", at, name)
					continue
				}
			}
			covers(t, at+"."+name, v[name], property, schemas)
		}
	}
}
