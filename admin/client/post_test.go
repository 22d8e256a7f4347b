package client

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// What is answered to a Post is made, refused for now, refused for good, or an error of its kind.
func TestPost(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status      int
		body        string
		made, again bool
		kind        Kind // of the error, if there is one
		fails       bool
	}{
		"made":                {status: 200, body: `{"made":[]}`, made: true},
		"others change it":    {status: 409, body: `{"error":"locked"}`, again: true},
		"the source fails":    {status: 502, body: `{"error":"500"}`, again: true},
		"not allowed here":    {status: 403, body: `{"error":"--scaling"}`},
		"no such thing":       {status: 404, body: `{"error":"no app names it"}`, fails: true, kind: NotFound},
		"an older Relay":      {status: 405, body: `Method Not Allowed`, fails: true, kind: TooOld},
		"another older Relay": {status: 404, body: `{"error":"nothing at /api/v1/x"}`, fails: true, kind: TooOld},
		"no token":            {status: 401, body: `a token is needed`, fails: true, kind: Denied},
		"a wrong parameter":   {status: 400, body: `{"error":"a number"}`, fails: true, kind: Failed},
		"no Relay":            {status: 200, body: `<html>`, fails: true, kind: Unreachable},
		"a proxy":             {status: 502, body: `<html>`, fails: true, kind: Failed},
	} {
		var method, query string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			method, query = r.Method, r.URL.RawQuery
			if tt.body[0] == '{' {
				w.Header().Set("Content-Type", "application/json")
			}
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		}))
		c, err := New(Settings{Address: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		posted, err := c.Post(t.Context(), "deployments/imp/advance", url.Values{"state": {"x"}})
		if (err != nil) != tt.fails || err != nil && KindOf(err) != tt.kind || posted.Made != tt.made || posted.Again != tt.again {
			t.Errorf("%s: %+v, %v (kind %d)", name, posted, err, KindOf(err))
		}
		if err == nil && !tt.made && posted.Reason == "" {
			t.Errorf("%s: no reason", name)
		}
		if method != http.MethodPost || query != "state=x" {
			t.Errorf("%s: asked by %s %s", name, method, query)
		}
		c.Close()
		s.Close()
	}
}
