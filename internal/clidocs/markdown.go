package clidocs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Markdown returns tables of all options: those of the command that has the settings, by groups,
// and then those that each other command has.
func Markdown(app *kong.Application, settings string) string {
	var out strings.Builder
	all := commands(app)
	var shared []*kong.Flag
	for _, c := range all {
		if c.name == settings {
			shared = c.flags
		}
	}
	for _, g := range grouped(shared) {
		fmt.Fprintf(&out, "### %s\n\n", g.title)
		table(&out, g.flags)
	}
	out.WriteString("### All commands\n\n")
	table(&out, shown(app.Flags))
	for _, c := range all {
		if c.name == settings {
			continue
		}
		words := []string{app.Name, c.name}
		for _, a := range c.arguments {
			words = append(words, strings.ToUpper(a.Name))
		}
		fmt.Fprintf(&out, "### %s\n\n%s\n\n", strings.Join(words, " "), c.help)
		own := c.flags
		if others := without(c.flags, shared); len(c.flags) == len(shared)+len(others) {
			fmt.Fprintf(&out, "It has the options of `%s %s`, and these:\n\n", app.Name, settings)
			own = others
		}
		table(&out, own)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// without returns the flags that are not among others, by their names.
func without(flags, others []*kong.Flag) []*kong.Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(f *kong.Flag) bool {
		return slices.ContainsFunc(others, func(o *kong.Flag) bool { return o.Name == f.Name })
	})
}

func table(out *strings.Builder, flags []*kong.Flag) {
	if len(flags) == 0 {
		out.WriteString("No further options.\n\n")
		return
	}
	out.WriteString("| Option | Variable | Default | What it is |\n|---|---|---|---|\n")
	for _, f := range flags {
		option := "--" + f.Name
		if f.Short != 0 {
			option = "-" + string(f.Short) + ", " + option
		}
		if takesValue(f) {
			option += "=" + placeholder(f)
		}
		var variables []string
		for _, v := range f.Envs {
			variables = append(variables, "`"+v+"`")
		}
		value := ""
		if f.HasDefault && f.Default != "" {
			value = "`" + f.Default + "`"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", cell(option), strings.Join(variables, ", "), cell(value), cell(f.Help+allowed(f)))
	}
	out.WriteString("\n")
}

// cell is a text in a table, where a bar would end it.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
