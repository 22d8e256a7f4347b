package admin

import (
	"net/http"

	"relay/admin/api"
)

// changes answers /api/v1/changes, the newest first.
func (s *Server) changes(_ *http.Request, q query) (any, error) {
	list := api.Changes{Changes: []api.Change{}}
	if s.cfg.History == nil {
		return list, nil
	}
	newest, total := s.cfg.History.Changes(ChangeQuery{
		App: q.values["app"], Certificate: q.values["certificate"], Text: q.text("q"), Before: q.before(), Limit: q.limit + 1,
	})
	list.Total = total
	if len(newest) > q.limit {
		newest = newest[:q.limit]
		list.Next = position{ID: newest[q.limit-1].ID}.cursor()
	}
	list.Changes = orEmpty(newest)
	return list, nil
}

// failures answers /api/v1/failures, the newest first.
func (s *Server) failures(_ *http.Request, q query) (any, error) {
	list := api.Failures{Failures: []api.Failure{}}
	if s.cfg.Failures == nil {
		return list, nil
	}
	newest, total := s.cfg.Failures.Failures(FailureQuery{
		App: q.values["app"], Domain: q.values["domain"], Fleet: q.values["fleet"], Envoy: q.values["envoy"], Code: q.values["code"],
		Before: q.before(), Limit: q.limit + 1,
	})
	list.Total = total
	if len(newest) > q.limit {
		newest = newest[:q.limit]
		list.Next = position{ID: newest[q.limit-1].ID}.cursor()
	}
	list.Failures = orEmpty(newest)
	return list, nil
}

// before is the id before which the page begins; 0 for the newest.
func (q query) before() uint64 {
	if q.after == nil {
		return 0
	}
	return q.after.ID
}
