package collator

import (
	"slices"
	"testing"

	"relay/sources"
)

func ownedBy(app *sources.App, owner string) *sources.App {
	app.Owner = owner
	return app
}

// Apps that say whose they are are known by the names under which they are routed, as soon as they say so and no longer.
func TestOwned(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	syncApps(c, ownedBy(webApp("/shop", "shop.test"), "shop"), webApp("/nobodys", "nobodys.test"),
		ownedBy(member("/web-blue", 0, "10.0.0.1:1"), "web"), ownedBy(member("/web-green", 1, "10.0.0.2:1"), "web"))
	want := func(what string, ids ...string) {
		t.Helper()
		var got []string
		for _, o := range c.Owned() {
			got = append(got, o.ID+" "+o.Owner)
		}
		if !slices.Equal(got, ids) {
			t.Errorf("%s: %q, want %q", what, got, ids)
		}
	}
	group := c.RoutedID("/web-blue")
	want("at first", "/shop shop", group+" web", group+" web")
	if o := c.Owned()[0]; !slices.Equal(o.Fleets, []string{"external"}) || !slices.Equal(o.Clusters, []string{"/shop_0"}) {
		t.Errorf("%+v", o)
	}
	if o := c.Owned()[1]; !slices.Equal(o.Clusters, []string{group + "_0"}) {
		t.Errorf("%+v", o)
	}
	c.UpdateApps([]*sources.App{ownedBy(webApp("/shop", "shop.test"), "sales"), ownedBy(webApp("/nobodys", "nobodys.test"), "somebody")}, []string{"/web-blue", "/web-green"})
	c.round()
	want("others have them", "/nobodys somebody", "/shop sales")
	c.UpdateApps([]*sources.App{webApp("/shop", "shop.test"), changed(ownedBy(webApp("/nobodys", "nobodys.test"), "somebody"), func(p *sources.Port) { p.Groups = []string{"other"} })}, nil)
	c.round()
	want("one says no more, and one is in no fleet", "/nobodys somebody")
	if o := c.Owned()[0]; len(o.Fleets) > 0 {
		t.Errorf("%+v", o)
	}
	c.UpdateApps(nil, []string{"/shop", "/nobodys"})
	c.round()
	want("all are gone")
}
