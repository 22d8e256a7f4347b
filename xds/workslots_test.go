package xds

import (
	"fmt"
	"testing"
)

// While others do large work, an Envoy that comes waits for a slot, and one that is connected stays
// current.
func TestWorkSlots(t *testing.T) {
	f := serve(t)
	names := make([]string, smallWork+1)
	for i := range names {
		names[i] = fmt.Sprint("one-of-many-clusters-", i)
	}
	f.set(Cluster, "1", names...)
	connected := f.connect()
	connected.Subscribe(endpoints, "e")
	connected.Ack(connected.Expect(endpoints, nil, "e"))

	for range cap(f.server.workSlots) {
		f.server.workSlots <- struct{}{}
	}
	all := f.connect()
	all.Subscribe(clusters)
	again := f.connect()
	versions := make(map[string]string)
	for _, name := range names {
		versions[name] = testResource(t, Cluster, name, "1").Version
	}
	versions[names[0]] = "old"
	again.Resume(clusters, versions)

	for i := range 3 {
		f.set(Endpoint, fmt.Sprint(i), "e")
		connected.Ack(connected.Expect(endpoints, []string{"e"}))
	}
	// One that disconnects while it waits leaves nothing behind.
	gone := f.connect()
	gone.Subscribe(clusters)
	gone.Close()
	all.ExpectQuiet()
	again.ExpectQuiet()
	for range cap(f.server.workSlots) {
		<-f.server.workSlots
	}
	all.Ack(all.Expect(clusters, names))
	again.Ack(again.Expect(clusters, names[:1]))
	again.ExpectNothing()
}
