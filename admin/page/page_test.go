package page

import (
	"net/http"
	"testing"
)

// everyPage is an address of each kind of page, for the data of tests.
var everyPage = []string{
	"/", "/apps", "/apps?q=web&sort=failures", "/apps/team-0/web", "/apps/none", "/domains", "/domains/web.team-0.example.com", "/domains/shop.tets",
	"/uncovered", "/envoys", "/envoys/external/edge-1.example.com", "/envoys/external/edge-3.example.com", "/certificates", "/certificates/vault/shop.example.com", "/problems", "/changes", "/failures", "/search", "/search?q=web",
}

func TestPages(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]*fakeData{"well": wellData(), "trouble": troubleData(), "empty": {}} {
		url := serve(t, data, &events{})
		for _, path := range everyPage {
			answer, err := http.Get(url + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK && (answer.StatusCode != http.StatusNotFound) {
				t.Errorf("%s %s: status %d", name, path, answer.StatusCode)
			}
		}
	}
}
