package labels

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of labels in the docs anew")

// Tables stand between two comments, of which the first names the section.
var (
	tableStart = regexp.MustCompile(`(?m)^<!-- labels (\S+): written by go test \./sources/labels -update -->\n`)
	tableEnd   = "<!-- end of labels -->\n"
	strayRow   = regexp.MustCompile("(?m)^\\| `(?:HAPROXY|RELAY|MARATHON_ACME)_.*$")
)

// TestDocs holds that the tables in the docs say what the entries of the labels say.
func TestDocs(t *testing.T) {
	t.Parallel()
	sectionTables := make(map[string]string)
	for _, s := range sections {
		sectionTables[s.name] = sectionTable(s)
	}
	for page, tables := range map[string]map[string]string{
		"../../docs/labels.md":      sectionTables,
		"../../docs/file-source.md": {"fields": fieldTable()},
	} {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			want := withTables(t, string(text), tables)
			if *update {
				if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(want, string(text)); diff != "" {
				t.Errorf("%s is not what the labels say; run go test ./sources/labels -update (-want +got):\n%s", page, diff)
			}
		})
	}
}

// withTables puts the tables into a page, each at its place.
func withTables(t *testing.T, page string, tables map[string]string) string {
	t.Helper()
	var out strings.Builder
	written := make(map[string]bool)
	for {
		at := tableStart.FindStringSubmatchIndex(page)
		if at == nil {
			break
		}
		name := page[at[2]:at[3]]
		_, rest, ok := strings.Cut(page[at[1]:], tableEnd)
		if table := tables[name]; table == "" || written[name] || !ok {
			t.Fatalf("the table %q is not known, is there twice, or has no end", name)
		}
		written[name] = true
		if row := strayRow.FindString(page[:at[0]]); row != "" {
			t.Errorf("a row of a label stands outside of the tables: %s", row)
		}
		out.WriteString(page[:at[1]] + tables[name] + tableEnd)
		page = rest
	}
	for name := range tables {
		if !written[name] {
			t.Errorf("there is no place for the table %q", name)
		}
	}
	if row := strayRow.FindString(page); row != "" {
		t.Errorf("a row of a label stands outside of the tables: %s", row)
	}
	return out.String() + page
}

// sectionTable has a row for each label. Labels next to each other of which the same is
// said share one. A column of which nothing is said is left out.
func sectionTable(s section) string {
	rows := [][]string{{"Label", "Meaning and values", "Default", "In Envoy", "Example"}}
	for i, l := range s.labels {
		row := []string{code(l.Key), l.meaning, l.byDefault, l.envoy, code(l.example)}
		if row[1] == "" {
			row[1] = l.unsupported
		}
		if last := rows[len(rows)-1]; i > 0 && slices.Equal(last[1:], row[1:]) {
			last[0] += ", " + row[0]
			continue
		}
		rows = append(rows, row)
		for _, m := range l.more {
			rows = append(rows, []string{"", m.meaning, "", m.envoy, code(m.example)})
		}
	}
	for column := len(rows[0]) - 1; column > 0; column-- {
		if !slices.ContainsFunc(rows[1:], func(row []string) bool { return row[column] != "" }) {
			for i := range rows {
				rows[i] = slices.Delete(rows[i], column, column+1)
			}
		}
	}
	if len(rows[0]) == 2 {
		rows[0][1] = "Why"
	}
	return tableOf(rows)
}

// fieldTable has the fields of a port in a YAML file that hold settings.
func fieldTable() string {
	rows := [][]string{{"Field of a port", "Label"}}
	for _, s := range sections {
		for _, l := range s.labels {
			if l.setting != nil {
				rows = append(rows, []string{code(l.Field), code(l.Key)})
			}
		}
	}
	return tableOf(rows)
}

func tableOf(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		for _, cell := range row {
			if b.WriteString("|"); cell != "" {
				b.WriteString(" " + cell)
			}
			b.WriteString(" ")
		}
		b.WriteString("|\n")
		if i == 0 {
			fmt.Fprintln(&b, strings.Repeat("|---", len(row))+"|")
		}
	}
	return b.String()
}

// code is text as it is typed; nothing stays nothing.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(text, "\n", `\n`) + "`"
}
