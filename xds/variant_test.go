package xds

import (
	"testing"

	"relay/xds/xdstest"
)

const selector = "envoy.test.selector"

func (f *fixture) setVariants(name, first, second string) {
	f.t.Helper()
	r := testResource(f.t, Listener, name, first).OrWithout(selector, testResource(f.t, Listener, name, second))
	f.store.Apply(Change{Set: []Resource{r}})
}

// Envoys are sent the resource or the variant, whichever they understand, and told of changes of that
// alone.
func TestVariants(t *testing.T) {
	f := serve(t)
	f.store.ClustersOnDemand = true // nothing waits for clusters
	f.setVariants("https", "1", "plain 1")
	able, unable := f.connect(), f.connect()
	able.Extensions("another", selector)
	unable.Extensions("another")
	for _, c := range []*xdstest.Client{able, unable} {
		c.Subscribe(listeners)
	}
	first, second := able.Expect(listeners, []string{"https"}), unable.Expect(listeners, []string{"https"})
	able.Ack(first)
	unable.Ack(second)
	if a, b := xdstest.Versions(first)["https"], xdstest.Versions(second)["https"]; a == b {
		t.Errorf("both have version %s", a)
	}

	f.setVariants("https", "1", "plain 2")
	second = unable.Expect(listeners, []string{"https"})
	unable.Ack(second)
	able.ExpectNothing()
	f.setVariants("https", "2", "plain 2")
	first = able.Expect(listeners, []string{"https"})
	able.Ack(first)
	unable.ExpectNothing()
	f.setVariants("https", "2", "plain 2")
	able.ExpectNothing()
	unable.ExpectNothing()

	for _, c := range []struct {
		extensions []string
		held       map[string]string
	}{{[]string{selector}, xdstest.Versions(first)}, {nil, xdstest.Versions(second)}} {
		again := f.connect()
		again.Extensions(c.extensions...)
		again.Resume(listeners, c.held)
		again.ExpectNothing()
	}
	f.set(Listener, "for all", "https")
	able.Expect(listeners, []string{"https"})
	unable.Expect(listeners, []string{"https"})
}

// A variant that Envoys reject concerns those only that are sent the variant.
func TestRejectedVariant(t *testing.T) {
	f := serve(t)
	f.store.ClustersOnDemand = true // nothing waits for clusters
	f.setVariants("https", "1", "bad")
	unable := f.connect()
	unable.Version(1, 30, 0)
	unable.Subscribe(listeners)
	unable.Nack(unable.Expect(listeners, []string{"https"}), "bad form")
	unable.ExpectNothing()
	able := f.connect()
	able.Version(1, 30, 0)
	able.Extensions(selector)
	able.Subscribe(listeners)
	able.Ack(able.Expect(listeners, []string{"https"}))
	if q := f.store.Rejected(); len(q) != 1 || q[0].Message != "bad form" {
		t.Errorf("rejected: %+v", q)
	}
	f.setVariants("https", "2", "bad")
	able.Ack(able.Expect(listeners, []string{"https"}))
	unable.ExpectNothing()
	if q := f.store.Rejected(); len(q) != 1 {
		t.Errorf("rejected after a change of the other form: %+v", q)
	}
	f.setVariants("https", "2", "good")
	unable.Ack(unable.Expect(listeners, []string{"https"}))
	able.ExpectNothing()
	if q := f.store.Rejected(); len(q) != 0 {
		t.Errorf("still rejected: %+v", q)
	}
}
