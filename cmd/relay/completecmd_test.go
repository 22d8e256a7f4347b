package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// completed is what relay __complete prints.
func completed(t *testing.T, args ...string) []string {
	t.Helper()
	status, out, errs := command(t, append([]string{"__complete"}, args...)...)
	if status != 0 || errs != "" {
		t.Errorf("%q: status %d, %s%s", args, status, out, errs)
	}
	return strings.Fields(out)
}

// Names come from the running Relay; whatever goes wrong is not said.
func TestCompletedNames(t *testing.T) {
	f := newFakeRelay(t)
	apps := append(fakeApps(), api.App{ID: "/shop/$(touch ran)"}, api.App{ID: "/shop/\x1b[2J"}, api.App{ID: "/shop/a b"})
	f.answers["apps"] = api.Apps{Apps: apps, Page: api.Page{Total: len(apps)}}
	f.answers["domains"] = api.Domains{Domains: append(fakeDomains(), api.Domain{Name: "*.shop.test"})}
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"app", "/sh"}, []string{"/shop/batch", "/shop/cart", "/shop/report", "/shop/web"}},
		{[]string{"app", "/shop/w"}, []string{"/shop/web"}},
		{[]string{"app", "shop"}, nil},
		{[]string{"domain", ""}, []string{"*.shop.test", "cart.test", "shop.test", "www.shop.test"}},
		{[]string{"subject", "/shop/c"}, []string{"/shop/cart"}},
		{[]string{"subject", "c"}, []string{"cart.test"}},
		{[]string{"subject", ""}, []string{"/shop/batch", "/shop/cart", "/shop/report", "/shop/web", "*.shop.test", "cart.test", "shop.test", "www.shop.test"}},
		{[]string{"envoy", "e"}, []string{"e-1", "e-2", "e-3", "external/e-1", "external/e-2", "external/e-3"}},
		{[]string{"certificate", "vault/s"}, []string{"vault/shop.test"}},
		{[]string{"fleet", ""}, []string{"external"}},
		{[]string{"app", "/sh", "relay app --admin http://127.0.0.1:1 /sh"}, nil},
		{[]string{"app", "/shop/w", "relay app --admin=" + f.URL + " /shop/w"}, []string{"/shop/web"}},
		{[]string{"app", "/shop/w", "relay app --admin-token-file /none /shop/w"}, nil},
	} {
		if got := completed(t, tt.args...); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.args, got, tt.want)
		}
	}
	f.answers["apps"] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	began := time.Now()
	if got := completed(t, "app", "/"); len(got) > 0 || time.Since(began) > 15*time.Second {
		t.Errorf("a Relay that hangs: %q after %s", got, time.Since(began))
	}
	writeClientFile(t, "wrong: 1\n")
	if got := completed(t, "app", "/"); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// programDir builds the program once, into a folder for PATH.
func programDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "relay"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// The shells themselves complete names of a running Relay: bash always, zsh and fish where they
// are. What a name has in it is not run.
func TestShellsCompleteNames(t *testing.T) {
	f := newFakeRelay(t)
	f.answers["apps"] = api.Apps{Apps: append(fakeApps(), api.App{ID: "/shop/$(touch ran)"})}
	path := programDir(t)
	dir := described(t)
	t.Setenv("PATH", path+":"+os.Getenv("PATH"))
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	bash := func(words ...string) []string {
		script := `source "$1"; shift; COMP_WORDS=(relay "$@"); COMP_CWORD=$#; COMP_LINE="relay $*"; compopt() { :; }; _relay relay; printf '%s\n' "${COMPREPLY[@]}"`
		out, err := exec.Command("bash", append([]string{"-c", script, "bash", filepath.Join(dir, "completion/bash/relay")}, words...)...).CombinedOutput()
		if err != nil {
			t.Errorf("bash: %v\n%s", err, out)
		}
		return strings.Fields(string(out))
	}
	apps := []string{"/shop/batch", "/shop/cart", "/shop/report", "/shop/web"}
	for _, tt := range []struct {
		words []string
		want  []string
	}{
		{[]string{"app", "/sh"}, apps}, {[]string{"apps", ""}, apps}, {[]string{"explain", "cart"}, []string{"cart.test"}}, {[]string{"app", "--fleet"}, nil},
		{[]string{"apps", "--fleet", "ex"}, []string{"external"}}, {[]string{"apps", "--fleet", "=", "ex"}, []string{"external"}}, {[]string{"envoys", "e-1"}, []string{"e-1"}},
		{[]string{"apps", "--so"}, []string{"--sort"}}, {[]string{"apps", "--sort", "e"}, []string{"errors"}}, {[]string{"conf"}, []string{"config-dump"}},
		{[]string{"app", "--admin", "http://127.0.0.1:1", "/sh"}, nil},
	} {
		if got := bash(tt.words...); !slices.Equal(got, tt.want) {
			t.Errorf("relay %q: bash offers %q, want %q", tt.words, got, tt.want)
		}
	}
	if fish, err := exec.LookPath("fish"); err == nil {
		for line, want := range map[string][]string{"relay app /sh": apps, "relay apps --fleet ": {"external"}, "relay domain cart": {"cart.test"}} {
			script := `source ` + dir + `/completion/fish/relay.fish; complete -C "` + line + `" | string replace -r "\t.*" ""; true`
			out, err := exec.Command(fish, "--no-config", "-c", script).CombinedOutput()
			if got := strings.Fields(string(out)); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: fish offers %q (%v), want %q", line, got, err, want)
			}
		}
	}
	if zsh, err := exec.LookPath("zsh"); err == nil {
		for line, want := range map[string][]string{"relay app /sh": apps, "relay apps --fleet ": {"external"}, "relay domain cart": {"cart.test"}} {
			if got := zshOffers(t, zsh, dir, line); !slices.Equal(got, want) {
				t.Errorf("%s: zsh offers %q, want %q", line, got, want)
			}
		}
	}
	if files, err := filepath.Glob("*"); err != nil || len(files) > 0 {
		t.Errorf("%q: something of a name was run (%v)", files, err)
	}
}

// zshOffers has an interactive zsh in a terminal of its own (zpty) complete a line. In place of
// showing what it offers, compadd prints it. Before its editor is there (READY), the terminal
// would take the keys for its own.
func zshOffers(t *testing.T, zsh, dir, line string) []string {
	t.Helper()
	script := `
zmodload zsh/zpty || exit 3
zpty z ` + zsh + ` -f -i
zpty -w z 'fpath=(` + dir + `/completion/zsh $fpath); PS1=; autoload -Uz compinit; compinit -u -D'
zpty -w z 'compadd() { local -a found; builtin compadd -O found "$@"; (( $#found )) && print -rl -- \<${^found}\>; builtin compadd "$@" }'
zpty -w z 'bindkey "^I" complete-word; zle -C complete-word complete-word _main_complete; zle-line-init() { print READ""Y }; zle -N zle-line-init'
zpty -r z seen '*READY*' || exit 4
zpty -w -n z ` + "$'" + line + `\t'
zpty -w z $'\C-e\C-uprint EN""D'
zpty -r z seen '*END*' || exit 5
print -r -- "$seen"
zpty -d z
`
	cmd := exec.Command(zsh, "-f", "-c", script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("zsh: %v\n%s", err, out)
	}
	var names []string
	for _, part := range strings.Split(string(out), "<")[1:] {
		if name, _, ok := strings.Cut(part, ">"); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Logf("zsh: %q", out)
	}
	return names
}
