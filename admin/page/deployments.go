package page

import (
	"net/http"
	"net/url"
)

// deploymentURL is the page of a deployment group.
func deploymentURL(group string) string { return "/deployments/" + url.PathEscape(group) }

func (p *Pages) deployments(r *http.Request) (view, error) {
	q := query(r)
	answer, err := p.data.Deployments(q)
	return view{Name: "deployments", Title: "Deployment groups", Nav: "apps", Every: later, Body: newList(p, r, answer.Deployments, answer.Page, q)}, err
}

// deployment shows how far one app has taken over from another.
func (p *Pages) deployment(r *http.Request) (view, error) {
	group := r.PathValue("group")
	d, ok := p.data.Deployment(group)
	if !ok {
		return notThere("deployment group", group, "apps", nil), nil
	}
	return view{Name: "deployment-story", Title: clip(d.Group), Nav: "apps", Every: soon, Body: d}, nil
}
