package probe

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// maxDeviceText bounds each text of a device, in bytes.
const maxDeviceText = 4096

var (
	deviceName = regexp.MustCompile(`^[A-Za-z0-9_.@-]{1,64}$`)
	// placeholder is what a text that is sent may have in braces.
	placeholder = regexp.MustCompile(`\{[A-Za-z][A-Za-z0-9]*\}`)
	hexByte     = regexp.MustCompile(`^\{x[0-9a-fA-F]{2}\}$`)
	// expected are the placeholders of regular expressions: all else in braces is theirs.
	expected = regexp.MustCompile(`\{(?:id|nonce)\}`)
)

// checkDevices says what is wrong with the devices of the settings.
func checkDevices(devices []DeviceSettings, callback CallbackSettings) error {
	errs := []error{callback.check()}
	if len(devices) > MaxDevices {
		errs = append(errs, fmt.Errorf("devices: %d are more than %d", len(devices), MaxDevices))
	}
	seen := make(map[string]bool)
	for n, d := range devices {
		where := d.Name
		if !deviceName.MatchString(d.Name) {
			where = fmt.Sprintf("number %d", n+1)
			errs = append(errs, fmt.Errorf("device %s: its name must have 1 to 64 letters, digits and _.@-", where))
		} else if seen[d.Name] {
			errs = append(errs, fmt.Errorf("device %s: another one has this name", where))
		}
		seen[d.Name] = true
		for _, err := range d.check(callback) {
			errs = append(errs, fmt.Errorf("device %s: %w", where, err))
		}
	}
	return errors.Join(errs...)
}

func (c CallbackSettings) check() error {
	if c == (CallbackSettings{}) {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return errors.New("callback: listen must be HOST:PORT")
	}
	if (c.Certificate == "") != (c.Key == "") {
		return errors.New("callback: certificate and key belong together")
	}
	u, err := url.Parse(c.URL)
	if err != nil || !slices.Contains([]string{"http", "https"}, u.Scheme) || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("callback: url must be http:// or https://, a host, and at most a path")
	}
	return nil
}

func (d DeviceSettings) check(callback CallbackSettings) (errs []error) {
	complain := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	complain(d.Port == 0, "port is missing: where Envoys take devices")
	complain(d.ServerName == "", "server-name is missing: what devices ask for")
	complain((d.Certificate == "") != (d.Key == ""), "certificate and key belong together")
	complain(len(d.ID) > maxDeviceText, "id is too long")
	complain(d.Hello == nil && d.MessageToAgent == nil && d.MessageFromAgent == nil && d.HTTPToAgent == nil && d.HTTPFromAgent == nil,
		"it has no step but to connect: give it hello, message-to-agent, message-from-agent, http-to-agent or http-from-agent")
	complain(d.MessageFromAgent != nil && d.MessageFromAgent.Expect == "", "message-from-agent has no expect")
	if from := d.HTTPFromAgent; from != nil {
		complain(callback.Listen == "", "http-from-agent needs callback: the agent has to reach the probe")
		complain(from.Expect != "", "http-from-agent has no expect: it waits for the request to {callback}")
		complain(!slices.ContainsFunc(from.texts(), func(text string) bool { return strings.Contains(text, "{callback}") }),
			"http-from-agent has no {callback}: the agent has to be told what to call")
	}
	for name, x := range map[string]*DeviceExchange{
		"hello": d.Hello, "message-to-agent": d.MessageToAgent, "message-from-agent": d.MessageFromAgent, "http-from-agent": d.HTTPFromAgent,
	} {
		if x != nil {
			complain(x.Send == "" && x.Request == nil && x.Expect == "", "%s has neither send, request nor expect", name)
			errs = append(errs, d.checkExpect(name, x.Expect), d.checkTexts(name, name == "http-from-agent", x.texts()), d.checkRequest(name, x.Request))
		}
	}
	if d.HTTPToAgent != nil {
		errs = append(errs, d.checkTexts("http-to-agent", false, d.HTTPToAgent.texts()), d.checkRequest("http-to-agent", d.HTTPToAgent))
	}
	l := d.Limits.OrDefault()
	for _, limit := range []time.Duration{l.Connect, l.TLS, l.Hello, l.MessageToAgent, l.MessageFromAgent, l.HTTPToAgent, l.HTTPFromAgent} {
		complain(limit < 0, "limits: %s is less than nothing", limit)
	}
	complain(d.Longest() > maxTimeout, "limits: all steps together may take %s, more than %s", d.Longest(), maxTimeout)
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// texts are those of an exchange that may have placeholders.
func (x *DeviceExchange) texts() []string {
	return append([]string{x.Send}, x.Request.texts()...)
}

func (r *DeviceRequest) texts() []string {
	if r == nil {
		return nil
	}
	return append([]string{r.URL, r.Body}, slices.Collect(maps.Values(r.Headers))...)
}

func (d DeviceSettings) checkTexts(step string, callback bool, texts []string) error {
	for _, text := range texts {
		if len(text) > maxDeviceText {
			return fmt.Errorf("%s: a text has more than %d bytes", step, maxDeviceText)
		}
		for _, name := range placeholder.FindAllString(text, -1) {
			switch {
			case slices.Contains([]string{"{nonce}", "{length8}", "{length16}", "{length32}"}, name), hexByte.MatchString(name):
			case name == "{id}" && d.ID != "", name == "{secret}" && d.SecretFile != "", name == "{callback}" && callback:
			case name == "{id}" || name == "{secret}":
				return fmt.Errorf("%s: %s is used, but id or secret-file is not set", step, name)
			default:
				return fmt.Errorf("%s: %s is nothing here: there are {id}, {nonce}, {secret}, {length8}, {length16}, {length32}, {xHH}, and in http-from-agent {callback}", step, name)
			}
		}
	}
	return nil
}

func (d DeviceSettings) checkExpect(step, pattern string) error {
	if len(pattern) > maxDeviceText {
		return fmt.Errorf("%s: expect has more than %d bytes", step, maxDeviceText)
	}
	if strings.Contains(pattern, "{id}") && d.ID == "" {
		return fmt.Errorf("%s: {id} is used, but id is not set", step)
	}
	if _, err := DeviceExpectation(pattern, map[string]string{"id": d.ID, "nonce": "0"}); err != nil {
		return fmt.Errorf("%s: expect: %w", step, err)
	}
	return nil
}

// DeviceExpectation compiles what a device expects: {id} and {nonce} stand for themselves, and ^ and $ for the ends
// of lines. A name that values lack stands for any word.
func DeviceExpectation(pattern string, values map[string]string) (*regexp.Regexp, error) {
	return regexp.Compile("(?m)" + expected.ReplaceAllStringFunc(pattern, func(name string) string {
		if value, known := values[name[1:len(name)-1]]; known {
			return regexp.QuoteMeta(value)
		}
		return `[!-~]{1,256}`
	}))
}

func (d DeviceSettings) checkRequest(step string, r *DeviceRequest) error {
	if r == nil {
		return nil
	}
	// The text is a template: what is in braces is no part of the host.
	u, err := url.Parse(placeholder.ReplaceAllString(r.URL, "x"))
	if err != nil || !slices.Contains([]string{"http", "https"}, u.Scheme) || u.Host == "" || u.User != nil {
		return fmt.Errorf("%s: url must be http:// or https:// and a host, and have no user", step)
	}
	if _, err := http.NewRequest(r.Method, u.String(), nil); err != nil {
		return fmt.Errorf("%s: method is not valid", step)
	}
	for name, value := range r.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("%s: the header %.64q is not valid", step, name)
		}
	}
	for _, status := range r.Status {
		if status < 100 || status > 599 {
			return fmt.Errorf("%s: %d is no status", step, status)
		}
	}
	return d.checkExpect(step, r.Expect)
}
