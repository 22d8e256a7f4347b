package deploy_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"relay/xds/envoytest"
)

// What the package brings, as Debian's own programs see it.
func TestPackageContents(t *testing.T) {
	deb := filepath.Join(dist(t), "relay_1.2.3-1_amd64.deb")
	contents, err := exec.Command("dpkg-deb", "--contents", deb).Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(contents)) {
		fields := strings.Fields(line)
		if fields[1] != "root/root" {
			t.Errorf("not of root: %s", line)
		}
		names = append(names, fields[0]+" "+strings.TrimPrefix(fields[5], "."))
	}
	for _, want := range []string{
		"-rwxr-xr-x /usr/bin/relay", "drwxr-x--- /etc/relay/", "-rw-r----- /etc/relay/relay.yaml", "drwxr-xr-x /etc/relay-envoy/",
		"-rw-r--r-- /lib/systemd/system/relay.service", "-rw-r--r-- /lib/systemd/system/relay-envoy@.service", "-rw-r--r-- /usr/lib/sysusers.d/relay.conf",
		"-rw-r--r-- /usr/share/man/man1/relay.1.gz", "-rw-r--r-- /usr/share/man/man1/relay-serve.1.gz",
		"-rw-r--r-- /usr/share/bash-completion/completions/relay", "-rw-r--r-- /usr/share/zsh/vendor-completions/_relay", "-rw-r--r-- /usr/share/fish/vendor_completions.d/relay.fish",
		"-rw-r--r-- /usr/share/doc/relay/examples/collectd.conf", "-rw-r--r-- /usr/share/doc/relay/examples/monit.conf", "-rw-r--r-- /usr/share/doc/relay/examples/nagios.cfg", "-rw-r--r-- /usr/share/doc/relay/examples/grafana-relay-graphite.json",
		"-rw-r--r-- /usr/share/doc/relay/copyright", "-rw-r--r-- /usr/share/doc/relay/changelog.gz", "-rw-r--r-- /usr/share/doc/relay/changelog.Debian.gz", "-rw-r--r-- /usr/share/doc/relay/README.Debian",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("the package lacks %s:\n%s", want, contents)
		}
	}
	conffiles, err := exec.Command("dpkg-deb", "--info", deb, "conffiles").Output()
	if err != nil || string(conffiles) != "/etc/relay/relay.yaml\n" {
		t.Errorf("conffiles: %v, %s", err, conffiles)
	}
	if lintian, err := exec.LookPath("lintian"); err == nil {
		if out, err := exec.Command(lintian, "--allow-root", "--fail-on", "error,warning", deb).CombinedOutput(); err != nil {
			t.Errorf("lintian: %v\n%s", err, out)
		}
	}
}

// newer is the package as a later version, whose relay.yaml differs. It is not compressed.
func newer(t *testing.T, deb string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-ec", `dpkg-deb --raw-extract "$1" tree
sed -i 's/^Version: .*/Version: 1.2.4-1/' tree/DEBIAN/control
echo '# Of 1.2.4.' >> tree/etc/relay/relay.yaml
dpkg-deb --build -Znone tree "$2" >/dev/null`, "sh", deb, filepath.Join(dir, "newer.deb"))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "newer.deb")
}

// The package is installed, upgraded, removed and purged, with the services in between.
func TestPackage(t *testing.T) {
	deb := filepath.Join(dist(t), "relay_1.2.3-1_amd64.deb")
	m := startMachine(t)
	m.pretendSystemd()
	for from, to := range map[string]string{deb: "/tmp/relay.deb", newer(t, deb): "/tmp/newer.deb"} {
		if out, err := m.outside("cp " + from + " " + m.root + to).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	const install = "dpkg --no-triggers --force-confold --install "
	m.run(install + "/tmp/relay.deb")
	if got := m.calls(); got != "systemctl --system daemon-reload" {
		t.Errorf("the first installation calls %q: nothing is configured that could be started", got)
	}
	if got := m.run("cd /etc; stat -c '%n %U:%G %a' relay relay/relay.yaml relay-envoy; getent passwd relay relay-envoy | cut -d: -f1,7"); got !=
		"relay root:relay 750\nrelay/relay.yaml root:relay 640\nrelay-envoy root:root 755\nrelay:/usr/sbin/nologin\nrelay-envoy:/usr/sbin/nologin" {
		t.Errorf("after the installation:\n%s", got)
	}
	if out, err := m.inside("relay check --config /etc/relay/relay.yaml").CombinedOutput(); err == nil || !strings.Contains(string(out), "no source of apps") {
		t.Errorf("relay.yaml as it comes: %v, %s; want that only a source is missing", err, out)
	}
	m.verifyUnits()
	m.serve()

	before := m.run("cat /etc/relay/relay.yaml")
	m.run("touch /etc/relay/vault-token; chgrp root /etc/relay/relay.yaml")
	m.run(install + "/tmp/newer.deb")
	if got := m.calls(); got != "systemctl --system daemon-reload\ndeb-systemd-invoke try-restart relay.service" {
		t.Errorf("the upgrade calls %q, want that Relay is restarted if it runs, and no Envoy", got)
	}
	if after := m.run("cat /etc/relay/relay.yaml; stat -c %G /etc/relay/relay.yaml"); after != before+"\nroot" {
		t.Errorf("the upgrade changes relay.yaml or its group:\n%s", after)
	}
	m.run("cd /etc/systemd/system/multi-user.target.wants; ln -s /lib/systemd/system/relay.service .; ln -s /lib/systemd/system/relay-envoy@.service relay-envoy@external.service")
	m.run("dpkg --no-triggers --remove relay")
	if got := m.calls(); got != "deb-systemd-invoke stop relay.service relay-envoy@*.service\nsystemctl --system daemon-reload" {
		t.Errorf("the removal calls %q", got)
	}
	m.run("test ! -e /usr/bin/relay; test -e /etc/relay/relay.yaml; test -d /var/lib/relay")
	m.run("dpkg --no-triggers --purge relay")
	if got := m.run("find /etc/relay /etc/relay-envoy /var/lib/relay /etc/systemd/system/multi-user.target.wants -name '*relay*' -o -name '*token*' 2>/dev/null || true; dpkg-query --list relay 2>&1 || true"); got !=
		"/etc/relay\n/etc/relay/vault-token\n/etc/relay-envoy\ndpkg-query: no packages found matching relay" {
		t.Errorf("after the purge:\n%s", got)
	}
}

// pretendSystemd makes maintainer scripts believe that systemd runs, and notes what they
// ask of it.
func (m *machine) pretendSystemd() {
	m.run("mkdir -p /run/systemd/system")
	for _, name := range []string{"systemctl", "deb-systemd-invoke"} {
		m.put("/usr/local/sbin/"+name, "#!/bin/sh\necho "+name+" \"$@\" >> /tmp/calls\n")
		m.run("chmod 755 /usr/local/sbin/" + name)
	}
}

// calls returns what was asked of systemd since the last time.
func (m *machine) calls() string { return m.run("cat /tmp/calls; rm -f /tmp/calls") }

// verifyUnits asks systemd what it thinks of the units.
func (m *machine) verifyUnits() {
	m.t.Helper()
	m.run("touch /usr/bin/envoy; chmod 755 /usr/bin/envoy") // which the package leaves to the operator
	out, err := m.inside("systemd-analyze verify --man=$(command -v man >/dev/null && echo yes || echo no) /lib/systemd/system/relay.service /lib/systemd/system/relay-envoy@external.service").CombinedOutput()
	if err != nil || strings.Contains(string(out), "relay") {
		m.t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
}

// command returns what a unit runs, for sh.
func (m *machine) command(unit, key, instance string) string {
	m.t.Helper()
	line := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(m.run("cat /lib/systemd/system/" + unit))
	if line == nil {
		m.t.Fatalf("%s has no %s", unit, key)
	}
	return strings.NewReplacer("$$", "$", "%i", instance).Replace(line[1])
}

// as is the beginning of a command that runs with the user and the capabilities of a unit.
func (m *machine) as(unit string) string {
	capabilities := "-all"
	if only := m.command(unit, "CapabilityBoundingSet", ""); only != "" {
		capabilities += ",+" + strings.ToLower(strings.TrimPrefix(only, "CAP_"))
		if ambient := m.command(unit, "AmbientCapabilities", ""); ambient != only {
			m.t.Errorf("%s keeps %s and gives %s", unit, only, ambient)
		}
		capabilities += " --ambient-caps=" + capabilities
	}
	return fmt.Sprintf("exec setpriv --reuid=%s --regid=%s --clear-groups --no-new-privs --inh-caps=%s --bounding-set=%s ",
		m.command(unit, "User", ""), m.command(unit, "Group", ""), capabilities, strings.Fields(capabilities)[0])
}

// serve runs the services of the package as the users that they are for: Relay, and one
// Envoy each of two fleets.
func (m *machine) serve() {
	t := m.t
	t.Helper()
	binary, err := envoytest.Find()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := m.outside("mount --bind " + binary + " " + m.root + "/usr/bin/envoy").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.run(`install -d -o relay -g relay -m 700 /var/lib/relay # StateDirectory
cd /etc/relay
cat > apps.yaml <<E
apps:
- {id: /shop, ports: [{groups: [external], domains: [shop.test], endpoints: [{address: "127.0.0.1:8081"}]}]}
- {id: /office, ports: [{groups: [internal], domains: [office.test], endpoints: [{address: "127.0.0.1:8081"}]}]}
E
sed -i 's/^#\(source-file\|state-dir\):/\1:/' relay.yaml
cat >> relay.yaml <<E
fleets:
- {name: external, http: 0.0.0.0:80}
- {name: internal, http: 0.0.0.0:81}
E
mkdir /tmp/site; echo hello > /tmp/site/index.html`)
	start(t, "site", m.inside("exec python3 -m http.server --directory /tmp/site --bind 127.0.0.1 8081"))
	relay := start(t, "relay", m.inside(m.as("relay.service")+m.command("relay.service", "ExecStart", "")))
	envoys := make(map[string]*service)
	for i, fleet := range []string{"external", "internal"} {
		m.run(fmt.Sprintf(`relay bootstrap --fleet %[1]s --node-id %[1]s --envoy-admin 127.0.0.1:990%[2]d --max-connections 1000 --max-heap 0 --output /etc/relay-envoy/%[1]s
install -d -o relay-envoy -g relay-envoy -m 750 /run/relay-envoy/%[1]s`, fleet, i+1))
		envoys[fleet] = start(t, "Envoy of "+fleet, m.inside("export RUNTIME_DIRECTORY=/run/relay-envoy/"+fleet+"; "+m.as("relay-envoy@.service")+m.command("relay-envoy@.service", "ExecStart", fleet)))
	}
	for url, host := range map[string]string{"http://127.0.0.1:80/": "shop.test", "http://127.0.0.1:81/": "office.test"} {
		if got := eventually(t, m.inside, "curl -fsS -H 'Host: "+host+"' "+url); got != "hello\n" {
			t.Errorf("%s answers %q", host, got)
		}
	}
	if got := eventually(t, m.inside, "find /var/lib/relay -type f -printf '%u %m\\n' 2>/dev/null | sort -u | grep ."); got != "relay 600\n" {
		t.Errorf("saved state is of %q", got)
	}
	// One Envoy leaves its balancer, and the other does not.
	m.run("export DRAIN_SECONDS=0 RUNTIME_DIRECTORY=/run/relay-envoy/external; " + m.command("relay-envoy@.service", "ExecStop", "external"))
	if got := m.run("for port in 9901 9902; do curl -s http://127.0.0.1:$port/ready; done"); got != "DRAINING\nLIVE" {
		t.Errorf("after ExecStop the Envoys are %q", got)
	}
	for name, s := range map[string]*service{"relay": relay, "external": envoys["external"], "internal": envoys["internal"]} {
		if err := s.stop(); err != nil {
			t.Errorf("%s after SIGTERM: %v", name, err)
		}
	}
	if out, err := m.outside("umount " + m.root + "/usr/bin/envoy").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
