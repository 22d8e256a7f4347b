package savedstate

import (
	"encoding/json"
	"reflect"
	"testing"

	"relay/internal/problem"
	"relay/internal/state"
)

// A file that was saved by an earlier version is read, and nothing of it is lost. The
// earlier version can read what is saved now.
func TestRecordedFile(t *testing.T) {
	t.Parallel()
	s, _ := newSink(t, "")
	recorded, _, err := state.File{Path: "testdata/certificates.state", Content: "certificates", Key: testKey(t)}.Load()
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.decode(recorded)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.certificates) != 1 || r.certificates[0].Name != "a.test" {
		t.Errorf("loaded the certificates %+v", r.certificates)
	}
	if want := []problem.Problem{{Subject: "c.test", Reason: "no key"}}; !reflect.DeepEqual(r.problems, want) {
		t.Errorf("loaded the problems %+v", r.problems)
	}
	body, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asBefore(t, body), asBefore(t, recorded); !reflect.DeepEqual(got, want) {
		t.Errorf("the earlier version reads %+v, want %+v", got, want)
	}
}

// savedBefore is what the earlier version read.
type savedBefore struct {
	Certificates []savedCertificate
	Problems     []struct{ Source, Name, Reason string }
}

func asBefore(t *testing.T, body []byte) (s savedBefore) {
	t.Helper()
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatal(err)
	}
	return s
}
