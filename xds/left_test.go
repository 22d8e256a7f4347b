package xds

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// An Envoy that has left is told of for an hour, unless it comes back; of very many, the last.
func TestLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{}
		info := func(id string) StreamStatus { return StreamStatus{Fleet: "external", NodeID: id} }
		for _, id := range []string{"b", "a", "c"} {
			s.leavers.left(info(id), time.Now())
		}
		s.leavers.back(info("c"))
		if got := s.Left(); len(got) != 2 || got[0].NodeID != "a" || got[1].NodeID != "b" || got[0].At.IsZero() {
			t.Errorf("%+v", got)
		}
		time.Sleep(leftFor)
		for i := range maxLeft + 10 {
			time.Sleep(time.Millisecond)
			s.leavers.left(info(fmt.Sprint(i)), time.Now())
		}
		got := s.Left()
		if len(got) > maxLeft || len(got) < maxLeft-2 {
			t.Errorf("%d are told of", len(got))
		}
		for _, one := range got {
			if one.NodeID == "a" || one.NodeID == "0" {
				t.Errorf("%s is told of, and left long ago", one.NodeID)
			}
		}
		time.Sleep(leftFor)
		if got := s.Left(); len(got) > 0 {
			t.Errorf("an hour later: %d", len(got))
		}
	})
}
