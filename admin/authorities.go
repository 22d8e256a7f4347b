package admin

import (
	"net/http"
	"slices"
	"strings"

	"relay/admin/api"
	"relay/collator"
)

// authorities answers /api/v1/authorities, ordered by name.
func (s *Server) authorities(_ *http.Request, q query) (any, error) {
	text := q.text("q")
	entries := filter(s.cfg.Views.Authorities(), text != "", func(a collator.AuthorityView) bool {
		return slices.ContainsFunc(append([]string{a.Name, a.Source}, a.Subjects...), func(n string) bool { return strings.Contains(strings.ToLower(n), text) })
	})
	key := func(a collator.AuthorityView) string { return a.Name + "\x00" + a.Source }
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b collator.AuthorityView) int { return strings.Compare(key(a), key(b)) })
	shown, page := pageOf(entries, q, key, nil)
	list := api.Authorities{Authorities: make([]api.Authority, len(shown)), Page: page}
	for i, a := range shown {
		list.Authorities[i] = authorityOf(a)
	}
	return list, nil
}

func authorityOf(a collator.AuthorityView) api.Authority {
	made := api.Authority{
		Source: a.Source, Name: a.Name, Subjects: a.Subjects, NotBefore: a.NotBefore, NotAfter: a.NotAfter, DaysLeft: a.DaysLeft,
		Services: a.Services, UsedInstead: a.UsedInstead, Remarks: a.Remarks,
	}
	if !a.RevokedAt.IsZero() {
		made.Revocation = &api.Revocation{Count: a.RevokedCount, MadeAt: a.RevokedAt}
		if !a.RevokedUntil.IsZero() {
			made.Revocation.OutOfDateAt = &a.RevokedUntil
		}
	}
	return made
}
