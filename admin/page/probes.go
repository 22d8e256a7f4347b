package page

import (
	"net/http"

	"relay/admin/api"
)

// probesBody is the body of the page of probes.
type probesBody struct {
	List  list[api.Probe]
	Found api.Probes
}

func (p *Pages) probes(r *http.Request) (view, error) {
	q := query(r, "q", "fleet", "state", "kind")
	answer, err := p.data.Probes(q)
	return view{Name: "probes", Title: "Probes", Nav: "probes", Every: soon, Body: probesBody{newList(p, r, answer.Probes, answer.Page, q), answer}}, err
}
