package page

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkPages renders pages without what reads the data: what one open page costs each time
// that it is read again and nobody else has it open.
func BenchmarkPages(b *testing.B) {
	p := New(troubleData(), "v1.2.3", slog.New(slog.DiscardHandler))
	for name, page := range map[string]struct {
		path string
		view func(*http.Request) (view, error)
	}{"first": {"/", p.first}, "apps": {"/apps", p.apps}, "failures": {"/failures", p.failures}, "search": {"/search?q=web", p.search}} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, page.path, nil)
			size := 0
			for b.Loop() {
				body, _, err := p.render(r, page.view)
				if err != nil {
					b.Fatal(err)
				}
				size = len(body)
			}
			b.ReportMetric(float64(size)/1024, "KiB")
		})
	}
}
