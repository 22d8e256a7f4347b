package main

import (
	"bytes"
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"relay/admin/api"
	"relay/internal/relay"
	"relay/internal/terminal"
)

// redrawn is how often the screen of probes is.
const redrawn = 2 * time.Second

// showProbes shows on a terminal what was found last, those that fail first, until the context ends.
func showProbes(ctx context.Context, p printer, program *relay.ProbeProgram, relays string) {
	ticker := time.NewTicker(redrawn)
	defer ticker.Stop()
	for {
		var b bytes.Buffer
		drawn := *p.screen
		drawn.Writer = &b
		printer{p.output, &drawn}.probes(latestProbes(program), relays, program.URL(), rows(p.screen)-5)
		_, _ = p.screen.Write(append([]byte("\x1b[H\x1b[2J"), b.Bytes()...)) // to the beginning, and all is cleared
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// rows is how many lines a terminal has.
func rows(s *terminal.Screen) int {
	if file, ok := s.Writer.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil && size.Row > 0 {
			return int(size.Row)
		}
	}
	return 24
}

// probes shows a table of as many probes as there is room for.
func (p printer) probes(found api.Probes, relays, listen string, most int) {
	p.line("%s", p.screen.Styled(terminal.Bold, probesSummary(found)))
	about := "asked as " + relays + " says"
	if listen != "" {
		about += ", shown at " + listen
	}
	p.line("%s\n", about)
	if len(found.Probes) == 0 {
		p.line("nothing was asked yet")
		return
	}
	columns := []terminal.Column{
		{Title: "PROBE", Shrinks: true}, {Title: "KIND", Optional: true}, {Title: "ENVOY"}, {Title: "RESULT"}, {Title: "TOOK", Right: true}, {Title: "SINCE", Right: true, Optional: true},
	}
	var below []api.Probe
	if p.screen.Width > 0 && p.screen.Width < wide {
		below = firstFailing(found.Probes, max(min(maxBelow, most/4), 1))
		most -= 2*len(below) + 1
	} else {
		columns = append(columns, terminal.Column{Title: "WHY", Shrinks: true})
	}
	var cells [][]terminal.Cell
	for _, one := range found.Probes[:min(len(found.Probes), max(most, 1))] {
		cells = append(cells, probeRow(one)[:len(columns)])
	}
	_ = p.screen.NewTable(columns...).Write(cells)
	if len(below) > 0 {
		p.line("")
	}
	for _, one := range below {
		p.screen.Paragraph("", probeTitle(one)+": "+one.Reason)
	}
}

const (
	// wide is from how many columns on there is room for reasons in the table. Else they are below it.
	wide     = 120
	maxBelow = 5
)

// firstFailing are the first that fail.
func firstFailing(probes []api.Probe, most int) (failing []api.Probe) {
	for _, one := range probes {
		if !one.Success && one.Skipped == "" && len(failing) < most {
			failing = append(failing, one)
		}
	}
	return failing
}

func probeRow(one api.Probe) []terminal.Cell {
	result, why := terminal.Cell{Text: "ok", Style: terminal.Green}, ""
	switch {
	case one.Skipped != "":
		result, why = terminal.Cell{Text: "not asked", Style: terminal.Faint}, one.Skipped
	case !one.Success:
		result, why = terminal.Cell{Text: "failed", Style: terminal.Red}, one.Reason
	}
	return []terminal.Cell{
		terminal.Text(one.Name), terminal.Text(one.Kind), terminal.Text(one.Fleet + "/" + one.Envoy), result,
		terminal.Text(seconds(one.Duration)), terminal.Text(ago(one.Since)), terminal.Text(why),
	}
}
