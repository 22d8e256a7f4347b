package routing

import "testing"

// People look for clusters by name in Envoy's statistics: docs/compatibility.md promises them.
func TestClusterNamesArePromised(t *testing.T) {
	t.Parallel()
	if name := ClusterName("/shop/web", 0); name != "/shop/web_0" {
		t.Errorf("the cluster of /shop/web, port 0, is %s", name)
	}
}
