package clidocs

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// Completions returns what completes the command line in a shell, by the name of the
// shell: bash, zsh and fish. They need no other package.
func Completions(app *kong.Application) map[string][]byte {
	return map[string][]byte{"bash": bash(app), "zsh": zsh(app), "fish": fish(app)}
}

// nameKind says of what names there are, if a running program knows them: it prints those that
// begin with a word when it is called as "__complete KIND WORD LINE".
func nameKind(v *kong.Value) string { return v.Tag.Get("complete") }

// nameKindOf is that of a command's first argument.
func nameKindOf(c command) string {
	if len(c.arguments) == 0 {
		return ""
	}
	return nameKind(c.arguments[0])
}

// names returns how a flag is written.
func names(f *kong.Flag) []string {
	all := []string{"--" + f.Name}
	if f.Short != 0 {
		all = append(all, "-"+string(f.Short))
	}
	return all
}

const bashHead = `# Completion of %[1]s for bash.
_%[1]s_names() { mapfile -t COMPREPLY < <("$program" __complete "$1" "$cur" "$COMP_LINE" 2>/dev/null); }
_%[1]s() {
	local program=${1:-%[1]s}
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= i
	# bash makes three words of --flag=value.
	if [[ $cur == "=" ]]; then
		cur=
	elif [[ $prev == "=" ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		%[2]s) command=${COMP_WORDS[i]}; break ;;
		esac
	done
	case "$command $prev" in
`

const bashFoot = `	esac
	case $command in
%s	*) mapfile -t COMPREPLY < <(compgen -W %s -- "$cur") ;;
	esac
}
complete -F _%s %s
`

func bash(app *kong.Application) []byte {
	var out, offered strings.Builder
	all := commands(app)
	var words []string
	for _, c := range all {
		words = append(words, c.name)
	}
	fmt.Fprintf(&out, bashHead, app.Name, strings.Join(words, "|"))
	bashValues(&out, app.Name, "*", shown(app.Flags))
	for _, c := range all {
		bashValues(&out, app.Name, c.name, c.flags)
		fmt.Fprintf(&offered, "\t%s)\n", c.name)
		if kind := nameKindOf(c); kind != "" {
			fmt.Fprintf(&offered, "\t\t[[ $cur == -* ]] || _%s_names %s\n\t\t((${#COMPREPLY[@]} == 0)) || return\n", app.Name, kind)
		}
		fmt.Fprintf(&offered, "\t\tmapfile -t COMPREPLY < <(compgen -W %s -- \"$cur\") ;;\n", quoted(flagWords(append(c.flags, shown(app.Flags)...))))
	}
	fmt.Fprintf(&out, bashFoot, offered.String(), quoted(strings.Join(words, " ")+" "+flagWords(shown(app.Flags))), app.Name, app.Name)
	return []byte(out.String())
}

// bashValues says what comes after the flags of a command, * for any.
func bashValues(out *strings.Builder, program, command string, flags []*kong.Flag) {
	for _, f := range flags {
		if !takesValue(f) {
			continue
		}
		var patterns []string
		for _, name := range names(f) {
			if command == "*" {
				patterns = append(patterns, `*" `+name+`"`)
			} else {
				patterns = append(patterns, `"`+command+" "+name+`"`)
			}
		}
		action := ""
		switch {
		case takesPath(f):
			action = `compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); `
		case values(f) != nil:
			action = fmt.Sprintf(`mapfile -t COMPREPLY < <(compgen -W %s -- "$cur"); `, quoted(strings.Join(values(f), " ")))
		case nameKind(f.Value) != "":
			action = fmt.Sprintf(`_%s_names %s; `, program, nameKind(f.Value))
		}
		fmt.Fprintf(out, "\t%s) %sreturn ;;\n", strings.Join(patterns, "|"), action)
	}
}

func flagWords(flags []*kong.Flag) string {
	var words []string
	for _, f := range flags {
		words = append(words, "--"+f.Name)
	}
	return strings.Join(words, " ")
}

// quoted is a word for a shell, which takes nothing in it for its own.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// zshNames has a function that adds names: what follows a space in a specification of
// _arguments is called as it is.
const zshNames = `_%[1]s_names() {
	local -a names=(${(f)"$(%[1]s __complete $1 "$PREFIX" "$BUFFER" 2>/dev/null)"})
	compadd -a names
}
`

func zsh(app *kong.Application) []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "#compdef %[1]s\n# Completion of %[1]s for zsh.\n"+zshNames+"_%[1]s() {\n\tlocal context state state_descr line\n\ttypeset -A opt_args\n", app.Name)
	out.WriteString("\t_arguments -C \\\n")
	zshFlags(&out, app.Name, shown(app.Flags))
	out.WriteString("\t\t'1:command:->command' '*::argument:->argument'\n\tcase $state in\n\tcommand)\n\t\tlocal -a commands=(\n")
	for _, c := range commands(app) {
		fmt.Fprintf(&out, "\t\t\t%s\n", quoted(c.name+":"+firstSentence(c.help)))
	}
	out.WriteString("\t\t)\n\t\t_describe command commands ;;\n\targument)\n\t\tcase $line[1] in\n")
	for _, c := range commands(app) {
		fmt.Fprintf(&out, "\t\t%s)\n\t\t\t_arguments \\\n", c.name)
		zshFlags(&out, app.Name, append(c.flags, shown(app.Flags)...))
		for _, a := range c.arguments {
			action := " "
			if kind := nameKind(a); kind != "" {
				action = fmt.Sprintf(" _%s_names %s", app.Name, kind)
			}
			fmt.Fprintf(&out, "\t\t%s \\\n", quoted(":"+a.Name+":"+action))
		}
		out.WriteString("\t\t&& return ;;\n")
	}
	fmt.Fprintf(&out, "\t\tesac ;;\n\tesac\n}\n_%[1]s \"$@\"\n", app.Name)
	return []byte(out.String())
}

// zshFlags writes specifications of _arguments: see zshcompsys(1).
func zshFlags(out *strings.Builder, program string, flags []*kong.Flag) {
	escape := strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`)
	for _, f := range flags {
		for _, name := range names(f) {
			spec := name
			if f.IsSlice() {
				spec = "*" + name
			}
			if takesValue(f) {
				if strings.HasPrefix(name, "--") {
					spec += "="
				} else {
					spec += "+"
				}
			}
			spec += "[" + escape.Replace(firstSentence(f.Help)) + "]"
			if takesValue(f) {
				spec += ":" + escape.Replace(strings.ToLower(placeholder(f))) + ":"
				switch {
				case takesPath(f):
					spec += "_files"
				case values(f) != nil:
					spec += "(" + strings.Join(values(f), " ") + ")"
				case nameKind(f.Value) != "":
					spec += fmt.Sprintf(" _%s_names %s", program, nameKind(f.Value))
				default:
					spec += " "
				}
			}
			fmt.Fprintf(out, "\t\t%s \\\n", quoted(spec))
		}
	}
}

func fish(app *kong.Application) []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "# Completion of %[1]s for fish.\ncomplete -c %[1]s -f\n", app.Name)
	fishFlags(&out, app.Name, "", shown(app.Flags))
	for _, c := range commands(app) {
		fmt.Fprintf(&out, "complete -c %s -n __fish_use_subcommand -a %s -d %s\n", app.Name, c.name, fishQuoted(firstSentence(c.help)))
		condition := fmt.Sprintf(" -n '__fish_seen_subcommand_from %s'", c.name)
		fishFlags(&out, app.Name, condition, c.flags)
		if kind := nameKindOf(c); kind != "" {
			fmt.Fprintf(&out, "complete -c %s%s -a %s\n", app.Name, condition, fishNames(app.Name, kind))
		}
	}
	return []byte(out.String())
}

func fishFlags(out *strings.Builder, program, condition string, flags []*kong.Flag) {
	for _, f := range flags {
		fmt.Fprintf(out, "complete -c %s%s -l %s", program, condition, f.Name)
		if f.Short != 0 {
			fmt.Fprintf(out, " -s %c", f.Short)
		}
		switch {
		case !takesValue(f):
		case takesPath(f):
			out.WriteString(" -r -F")
		case values(f) != nil:
			fmt.Fprintf(out, " -x -a %s", fishQuoted(strings.Join(values(f), " ")))
		case nameKind(f.Value) != "":
			out.WriteString(" -x -a " + fishNames(program, nameKind(f.Value)))
		default:
			out.WriteString(" -x")
		}
		fmt.Fprintf(out, " -d %s\n", fishQuoted(firstSentence(f.Help)))
	}
}

// fishNames runs the program when the tab key is pressed.
func fishNames(program, kind string) string {
	return fishQuoted(fmt.Sprintf("(%s __complete %s (commandline -ct) (commandline -p) 2>/dev/null)", program, kind))
}

// fishQuoted is a word for fish, in whose quotes a backslash escapes.
func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
