package admin

import (
	"fmt"
	"net/http"
	"time"

	"relay/admin/api"
	"relay/internal/guard"
	"relay/xds"
)

// diff answers /api/v1/diff?app=/shop/web: what the last change of the app did in a fleet.
func (s *Server) diff(_ *http.Request, q query) (any, error) {
	app, fleet := q.values["app"], q.values["fleet"]
	diffs, err := s.cfg.Views.Diffs(app)
	if err != nil {
		return nil, err
	}
	for _, d := range diffs { // the newest first
		if fleet == "" || d.Change.Fleet == fleet {
			d.Resources = orEmpty(d.Resources)
			return d, nil
		}
	}
	return nil, unknown(fmt.Sprintf("no change of the app %q is known", app))
}

const (
	dumpPath = "/api/v1/config-dump"
	// maxDumps is how many dumps may be read at a time.
	maxDumps = 5
)

// configDump answers /api/v1/config-dump?fleet=external. A dump may be large: it is written as it
// is made, and may take as long as the client goes on reading.
func (s *Server) configDump(w http.ResponseWriter, r *http.Request, q query) {
	if r.Method == http.MethodHead {
		return
	}
	if s.dumps.Add(1) > maxDumps {
		s.dumps.Add(-1)
		s.refusals.Refuse(r.RemoteAddr, guard.Refusal{Kind: guard.TooMany, Who: "readers of dumps", Reason: fmt.Sprintf(
			"%d dumps are being read: see what does not read them to the end", maxDumps)})
		w.Header().Set("Retry-After", "10")
		s.json(w, http.StatusServiceUnavailable, api.Error{Error: "too many dumps are being read"})
		return
	}
	defer s.dumps.Add(-1)
	out := &slowly{w: w, control: http.NewResponseController(w)}
	err := s.cfg.Views.WriteDump(out, q.values["fleet"], q.values["type"], q.values["name"])
	if err != nil && !out.begun {
		s.fail(w, unknown(err.Error()))
	}
	// Another error is that of the client, who is gone.
}

// slowly is an answer that may take long, of which no piece may.
type slowly struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// Write writes a piece.
func (s *slowly) Write(piece []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "application/json")
		s.w.Header().Set("Cache-Control", "no-store")
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(sendTime))
	return s.w.Write(piece)
}

// typeParam says of which type resources may be.
var typeParam = func() parameter {
	p := parameter{Name: "type", Text: "Only those of this type.", Values: []string{""}}
	for _, t := range xds.Types() {
		p.Values = append(p.Values, t.String())
	}
	return p
}()

func (s *Server) dumpRoutes() []route {
	return []route{
		{Path: "/api/v1/diff", Summary: "What the last change of an app did to Envoy's resources", Answer: api.Diff{}, get: s.diff, Missing: true,
			Params: []parameter{{Name: "app", Text: "The id of the app.", Length: maxSubject, Required: true}, fleetParam}},
		{Path: dumpPath, Summary: "What the Envoys of a fleet are offered, as Envoy's own /config_dump shows it, secrets masked", Answer: map[string]any{}, raw: s.configDump, Missing: true,
			Params: []parameter{
				{Name: "fleet", Text: "The fleet.", Required: true}, typeParam,
				{Name: "name", Text: "Only the resource of this name.", Length: maxSubject},
			}},
	}
}
