package admin

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// explainedViews knows one subject.
type explainedViews struct{ fakeViews }

func (explainedViews) Explain(subject string) (any, bool) {
	return map[string]any{"subject": subject, "notes": []string{"see https://user:hunter2@marathon.test/"}, "port": 0}, subject == "shop.test"
}

func TestExplain(t *testing.T) {
	t.Parallel()
	handler := New(newConfig(explainedViews{}), nil).Handler()
	for _, tt := range []struct {
		query  string
		status int
		want   string
	}{
		{"?subject=shop.test", http.StatusOK, `"subject": "shop.test"`},
		{"?subject=%2Fshop", http.StatusNotFound, `"subject": "/shop"`},
		{"?subject=+", http.StatusBadRequest, "What to explain: a domain"},
		{"", http.StatusBadRequest, "What to explain: a domain"},
		{"?subject=" + strings.Repeat("a", 2000), http.StatusBadRequest, "at most 1024 are allowed"},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "http://relay.test/api/v1/explain"+tt.query, nil))
		body, _ := io.ReadAll(w.Result().Body)
		if w.Code != tt.status || !strings.Contains(string(body), tt.want) {
			t.Errorf("%s: status %d, %s; want %d with %s", tt.query, w.Code, body, tt.status, tt.want)
		}
		if strings.Contains(string(body), "hunter2") {
			t.Errorf("%s: a password is shown: %s", tt.query, body)
		}
	}
}
