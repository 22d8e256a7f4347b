package probelabel_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"relay/internal/probelabel"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for value, want := range map[string]probelabel.Label{
		"/":                                {Kind: probelabel.HTTP, Path: "/"},
		"  /health ":                       {Kind: probelabel.HTTP, Path: "/health"},
		"GET /health":                      {Kind: probelabel.HTTP, Path: "/health"},
		"HEAD /health 204":                 {Kind: probelabel.HTTP, Method: "HEAD", Path: "/health", Status: []int{204}},
		"/health 200":                      {Kind: probelabel.HTTP, Path: "/health", Status: []int{200}},
		"/health 2xx within 500ms":         {Kind: probelabel.HTTP, Path: "/health", Class: 2, Within: 500 * ms},
		"/health within 500ms 2xx":         {Kind: probelabel.HTTP, Path: "/health", Class: 2, Within: 500 * ms},
		`/ 200,204,200 contains "all ok"`:  {Kind: probelabel.HTTP, Path: "/", Status: []int{200, 204}, Contains: "all ok"},
		`/ contains ok`:                    {Kind: probelabel.HTTP, Path: "/", Contains: "ok"},
		`/ contains "says \"within 200\""`: {Kind: probelabel.HTTP, Path: "/", Contains: `says "within 200"`},
		"grpc":                             {Kind: probelabel.GRPC},
		"grpc within 1s":                   {Kind: probelabel.GRPC, Within: time.Second},
		"grpc shop.v1.Carts within 1s":     {Kind: probelabel.GRPC, Name: "shop.v1.Carts", Within: time.Second},
		"websocket /socket within 2s":      {Kind: probelabel.WebSocket, Path: "/socket", Within: 2 * time.Second},
		"tcp":                              {Kind: probelabel.TCP},
		"module smtp_starttls":             {Kind: probelabel.Module, Name: "smtp_starttls"},
		"off":                              {Kind: probelabel.Off},
	} {
		got, err := probelabel.Parse(value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v, want %+v", value, got, err, want)
		}
	}
}

// Each error says what is wrong.
func TestParseErrors(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"": "empty", " \t ": "empty", "health": "not known", "POST /": "not known", "GET": "begins with a slash", "GET health": "begins with a slash",
		"/a?token=x": "query", "/ä": "ASCII", "/ 600": "no status", "/ 0200": "no status", "/ 6xx": "no status", "/ 200,": "no status",
		"/ 200 201": "twice", "/ within": "duration", "/ within 2": "duration", "/ within 2h": "duration", "/ within 1ns": "duration", "/ within 1s within 2s": "no status",
		"/ contains": "needs a text", `/ contains ""`: "needs a text", `/ contains "a`: "no end", `"/"`: "quotes", "HEAD / contains a": "HEAD",
		"tcp 5432": "not known", "module": "module", "module a b": "not known", "module ä": "module", "off 1": "nothing follows", "grpc a;b": "gRPC",
		"websocket": "slash", "websocket socket": "slash", "\xff": "UTF-8", "/" + strings.Repeat("x", 600): "bytes",
		"/ 200,201,202,203,204,205,206,207,208,209,210": "at most", "tcp contains x": "not known",
	} {
		got, err := probelabel.Parse(value)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %+v, %v, want %q", value, got, err, want)
		}
	}
}

// What is read is written so that it is read as the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/", "HEAD /x 200,204 within 2s", `/ 2xx contains "a \" b"`, "grpc a.b", "websocket /x", "module m", "tcp within 1s", "off"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		l, err := probelabel.Parse(value)
		if err != nil {
			if len(err.Error()) > 600 {
				t.Errorf("a long error: %v", err)
			}
			return
		}
		again, err := probelabel.Parse(l.String())
		if err != nil && len(l.String()) <= probelabel.MaxBytes || err == nil && !reflect.DeepEqual(again, l) {
			t.Errorf("%q is %+v, and %q is %+v: %v", value, l, l.String(), again, err)
		}
	})
}
