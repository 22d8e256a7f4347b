package envoy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"relay/xds"
)

// dumpSection is how Envoy's admin endpoint shows the resources of a type. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto
type dumpSection struct {
	typ           xds.Type
	message, list string
	// entry has the name, the version and the resource, in this order, as JSON.
	entry string
	// before and after are around all entries.
	before, after string
}

// dumpSections are in Envoy's order. It shows all scopes as one entry, without their versions, and
// endpoints without theirs.
var dumpSections = []dumpSection{
	{xds.Cluster, "ClustersConfigDump", "dynamic_active_clusters", `{"version_info":%[2]s,"cluster":%[3]s}`, "", ""},
	{xds.Endpoint, "EndpointsConfigDump", "dynamic_endpoint_configs", `{"version_info":%[2]s,"endpoint_config":%[3]s}`, "", ""},
	{xds.Listener, "ListenersConfigDump", "dynamic_listeners", `{"name":%[1]s,"active_state":{"version_info":%[2]s,"listener":%[3]s}}`, "", ""},
	{xds.Scope, "ScopedRoutesConfigDump", "dynamic_scoped_route_configs", `%[3]s`, `{"name":"` + scopesName + `","scoped_route_configs":[`, "]}"},
	{xds.Secret, "SecretsConfigDump", "dynamic_active_secrets", `{"name":%[1]s,"version_info":%[2]s,"secret":%[3]s}`, "", ""},
	{xds.ExtensionConfig, "EcdsConfigDump", "ecds_filters", `{"version_info":%[2]s,"ecds_filter":%[3]s}`, "", ""},
}

// DumpFilter chooses resources.
type DumpFilter struct {
	// Types are those that are shown; empty for all.
	Types []xds.Type
	// Match chooses by name; nil for all.
	Match func(name string) bool
}

// WriteConfigDump writes the resources of a store as JSON of the shape of Envoy's own
// /config_dump, an envoy.admin.v3.ConfigDump, without what is secret. It is what Envoys are offered,
// whether or not they have taken it. It makes one resource at a time, so that it takes little memory however
// many there are. The error is that of the writer.
func WriteConfigDump(w io.Writer, store *xds.Store, filter DumpFilter) error {
	match := filter.Match
	if match == nil {
		match = func(string) bool { return true }
	}
	out := bufio.NewWriterSize(w, 64<<10)
	_, _ = out.WriteString(`{"configs":[`)
	separator := ""
	for _, section := range dumpSections {
		if len(filter.Types) > 0 && !slices.Contains(filter.Types, section.typ) {
			continue
		}
		_, _ = out.WriteString(separator)
		separator = ",\n"
		if err := section.write(out, store.Contents(section.typ, match)); err != nil {
			return err
		}
	}
	_, _ = out.WriteString("]}\n")
	return out.Flush()
}

func (s dumpSection) write(out *bufio.Writer, contents []xds.Content) error {
	_, _ = fmt.Fprintf(out, `{"@type":"type.googleapis.com/envoy.admin.v3.%s",%q:[%s`, s.message, s.list, s.before)
	separator := ""
	for _, content := range contents {
		resource, err := RedactedJSON(content.Type, content.Body)
		if err != nil {
			continue // it was made here: see TestConfigDump
		}
		_, _ = out.WriteString(separator)
		separator = ",\n"
		if _, err := fmt.Fprintf(out, s.entry, quote(content.Name), quote(content.Version), []byte(resource)); err != nil {
			return fmt.Errorf("write a config dump: %w", err)
		}
	}
	_, err := out.WriteString(s.after + "]}")
	return err
}

func quote(text string) []byte {
	quoted, _ := json.Marshal(text) // of a string it never fails
	return quoted
}
