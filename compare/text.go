package compare

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// shownOfGroup is how many of the findings that have the same reason are shown in full.
const shownOfGroup = 3

// WriteText writes the report for people: how much is the same, and then the findings, the
// worst first. Findings with one reason come together, and only some of them in full, unless
// all is set.
func (r *Report) WriteText(w io.Writer, all bool) error {
	p := &printer{w: w}
	r.writeTallies(p)
	for _, group := range r.groups() {
		p.group(group, all)
	}
	if r.LeftOut > 0 {
		p.printf("and %d findings more than a report can have\n", r.LeftOut)
	}
	different, cannotTell, expected := r.Counts()
	if r.Interrupted {
		p.printf("\nIt was interrupted: this is what was known by then.\n")
	}
	p.printf("\n%d different, %d that cannot be told, %d as expected\n", different, cannotTell, expected)
	return p.err
}

// printer writes lines, and remembers the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (r *Report) writeTallies(p *printer) {
	table := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "compared by\tfleet\tcompared\tsame\tdifferent\tcannot tell\texpected\t")
	for _, t := range r.Tallies {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t\n", t.Part, t.Fleet, t.Compared, t.Same, t.Different, t.CannotTell, t.Expected)
	}
	p.err = table.Flush()
	for _, t := range r.Tallies {
		if t.NotDone != "" {
			p.printf("%s of fleet %s: not compared: %s\n", t.Part, t.Fleet, t.NotDone)
		}
	}
}

// groups returns the findings, those with the same reason together, in order.
func (r *Report) groups() (groups [][]Finding) {
	type key struct {
		verdict    Verdict
		kind       Kind
		part       Part
		fleet      string
		reason, do string
	}
	at := make(map[key]int)
	for _, f := range r.Findings {
		k := key{f.Verdict, f.Kind, f.Part, f.Fleet, f.Reason, f.Do}
		i, known := at[k]
		if !known {
			i = len(groups)
			at[k] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}

func (p *printer) group(group []Finding, all bool) {
	first := group[0]
	if first.Verdict == Expected && !all {
		p.printf("\n%s  %s of %s: %d, such as %s\n", first.Verdict, first.Kind, first.Part, len(group), first.Subject)
		p.indented("why", first.Reason)
		return
	}
	shown := group
	if !all && len(group) > shownOfGroup {
		shown = group[:shownOfGroup]
	}
	p.printf("\n%s  %s\n", first.Verdict, first.Kind)
	for _, f := range shown {
		p.printf("  %s\n", f.Subject)
		p.indented("marathon-lb", f.Old)
		p.indented("Relay", f.New)
	}
	if more := group[len(shown):]; len(more) > 0 {
		p.printf("  and %d more, such as %s (all: --all)\n", len(more), more[len(more)-1].Subject)
	}
	p.indented("why", first.Reason)
	p.indented("do", first.Do)
}

func (p *printer) indented(what, text string) {
	if text = strings.TrimSpace(text); text != "" {
		p.printf("    %-12s %s\n", what+":", text)
	}
}
