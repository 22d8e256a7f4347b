package labels

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"relay/sources"
)

// The limits are documented as they are.
func TestLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/labels.md")
	if err != nil {
		t.Fatal(err)
	}
	for row, limits := range map[string][]int{
		"the value of a label": {sources.MaxSettingBytes}, "the key of a label": {MaxKeyBytes},
		"all labels for Relay of an app together": {sources.MaxSettings, sources.MaxSettingsBytes},
		"groups in a label":                       {sources.MaxGroups}, "domains in a label, and in all labels of a kind (`VHOST`, `MARATHON_ACME_{n}_DOMAIN`) of an app": {sources.MaxDomains, sources.MaxAppDomains},
		"paths in a label": {MaxPaths}, "networks in `BACKEND_NETWORK_ALLOWED_ACL`": {MaxNetworks},
		"headers in each label that adds or removes some": {MaxHeaders}, "ports of an app, or endpoints of a pod": {sources.MaxPorts},
		"tasks times ports": {sources.MaxEndpoints}, "an app or task id": {sources.MaxIDBytes}, "names of ports, hosts, regions, zones": {sources.MaxNameBytes},
		"problems shown": {sources.MaxProblems, sources.MaxSubjectProblems, maxUnknown},
	} {
		found := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(row) + ` \| (.*) \|$`).FindSubmatch(text)
		if found == nil {
			t.Errorf("docs/labels.md has no row for %q", row)
			continue
		}
		numbers := regexp.MustCompile(`\d+`).FindAllString(string(found[1]), -1)
		for i, limit := range limits {
			if i >= len(numbers) || numbers[i] != strconv.Itoa(limit) {
				t.Errorf("docs/labels.md, %s: %q, want %d", row, found[1], limits)
			}
		}
	}
}
