package clidocs

import (
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Release is the one that the pages are of.
type Release struct {
	Version string
	// Date is the day in the footer of a page, in UTC.
	Date time.Time
}

// ManPages returns a page for the program and one for each command, by their file names.
// See man-pages(7) for the sections.
func ManPages(app *kong.Application, release Release) map[string][]byte {
	all := commands(app)
	pages := map[string][]byte{app.Name + ".1": programPage(app, all, release)}
	for _, c := range all {
		pages[app.Name+"-"+c.name+".1"] = commandPage(app, c, release)
	}
	return pages
}

// page is a manual page that is being written.
type page struct{ strings.Builder }

func newPage(name, help string, release Release) *page {
	p := new(page)
	fmt.Fprintf(p, ".TH %s 1 %s \"%s\" \"User Commands\"\n", roff(strings.ToUpper(name)), release.Date.UTC().Format(time.DateOnly), roff("Relay "+release.Version))
	p.section("NAME")
	fmt.Fprintf(p, "%s \\- %s\n", roff(name), roff(strings.TrimSuffix(help, ".")))
	return p
}

func (p *page) section(title string) { fmt.Fprintf(p, ".SH %s\n", title) }

// text writes sentences.
func (p *page) text(s string) { p.WriteString(roffLine(s) + "\n") }

// item begins an entry of a list: a head, which is roff already, and what it is.
func (p *page) item(head, text string) {
	p.WriteString(".TP\n" + head + "\n" + roffLine(text) + "\n")
}

func programPage(app *kong.Application, all []command, release Release) []byte {
	p := newPage(app.Name, lowerFirstWord(strings.TrimPrefix(app.Help, "Relay ")), release)
	p.section("SYNOPSIS")
	fmt.Fprintf(p, ".B %s\n.I COMMAND\n.RI [ OPTION ]...\n", roff(app.Name))
	p.section("DESCRIPTION")
	p.text(app.Help)
	p.section("COMMANDS")
	for _, c := range all {
		p.item(fmt.Sprintf(".BR %s (1)", roff(app.Name+"-"+c.name)), c.help)
	}
	p.flags("OPTIONS", shown(app.Flags))
	p.section("ENVIRONMENT")
	p.text("Each option can be set by a variable, too, which the page of the command names. An option on the command line counts before the variable, and that before the file that --config names.")
	p.section("FILES")
	p.item(".I /etc/relay/relay.yaml", "The configuration file of the service of systemd. It has all settings, each with what it is for.")
	p.item(".I ~/.config/relay/client.yaml", "Which Relay the commands ask that look at a running one: admin, admin-token-file, admin-ca, admin-client-cert, admin-client-key and admin-timeout. XDG_CONFIG_HOME, if it is set, is in place of ~/.config.")
	p.item(".I /var/lib/relay", "Where the service may save what was served (state-dir).")
	p.section("EXIT STATUS")
	p.item("0", "Success.")
	p.item("1", "The command failed, or found something wrong.")
	p.item("2", "The command line, a variable or the configuration file is wrong.")
	p.item("3", "Relay was asked, and cannot be reached.")
	p.seeAlso(app, all, "")
	return []byte(p.String())
}

func commandPage(app *kong.Application, c command, release Release) []byte {
	p := newPage(app.Name+"-"+c.name, lowerFirstWord(firstSentence(c.help)), release)
	p.section("SYNOPSIS")
	fmt.Fprintf(p, ".B %s %s\n.RI [ OPTION ]...\n", roff(app.Name), roff(c.name))
	for _, a := range c.arguments {
		fmt.Fprintf(p, ".I %s\n", roff(strings.ToUpper(a.Name)))
	}
	p.section("DESCRIPTION")
	p.text(c.help)
	if len(c.arguments) > 0 {
		p.section("ARGUMENTS")
		for _, a := range c.arguments {
			p.item(".I "+roff(strings.ToUpper(a.Name)), a.Help)
		}
	}
	p.flags("OPTIONS", c.flags)
	p.seeAlso(app, commands(app), c.name)
	return []byte(p.String())
}

// flags writes a section with the flags, by their groups.
func (p *page) flags(section string, flags []*kong.Flag) {
	if len(flags) == 0 {
		return
	}
	p.section(section)
	for _, g := range grouped(flags) {
		if g.title != "" {
			fmt.Fprintf(p, ".SS %s\n", roff(g.title))
		}
		for _, f := range g.flags {
			p.item(flagHead(f), flagText(f))
		}
	}
}

func flagHead(f *kong.Flag) string {
	head := roff("--" + f.Name)
	if f.Short != 0 {
		head = roff("-"+string(f.Short)+", ") + head
	}
	if !takesValue(f) {
		return `.B "` + head + `"`
	}
	return `.BI "` + head + `=" ` + roff(strings.ReplaceAll(placeholder(f), " ", "_"))
}

// flagText is the help of a flag, and what kong knows of it.
func flagText(f *kong.Flag) string {
	parts := []string{f.Help}
	if f.IsSlice() {
		parts = append(parts, "Several are separated by commas.")
	}
	if f.HasDefault && !strings.Contains(f.Help, "(default ") {
		parts = append(parts, "Default: "+f.Default+".")
	}
	if len(f.Envs) > 0 {
		parts = append(parts, "Environment: "+strings.Join(f.Envs, ", ")+".")
	}
	return strings.Join(parts, " ")
}

func (p *page) seeAlso(app *kong.Application, all []command, but string) {
	p.section("SEE ALSO")
	var names []string
	if but != "" {
		names = append(names, fmt.Sprintf(".BR %s (1)", roff(app.Name)))
	}
	for _, c := range all {
		if c.name != but {
			names = append(names, fmt.Sprintf(".BR %s (1)", roff(app.Name+"-"+c.name)))
		}
	}
	p.WriteString(strings.Join(names, ",\n") + "\n")
}

// roff writes a text so that it is shown as it is. A hyphen that is typed has to be a
// minus, which can be copied and searched for.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}

// roffLine is roff for a whole line, which must not be taken for a request.
func roffLine(s string) string {
	s = roff(strings.ReplaceAll(s, "\n", " "))
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + s
	}
	return s
}

// lowerFirstWord begins a sentence like a part of one.
func lowerFirstWord(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
