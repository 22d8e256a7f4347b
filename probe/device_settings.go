package probe

import (
	"cmp"
	"net"
	"strconv"
	"time"
)

// MaxDevices bounds the virtual devices of the settings.
const MaxDevices = 1000

// DeviceSettings is a virtual device: it connects as a real one, and is asked through each Envoy of its fleets.
type DeviceSettings struct {
	// Name is shown; it must not be secret.
	Name string `yaml:"name"`
	// Fleets are those whose Envoys are asked; all if empty.
	Fleets []string `yaml:"fleets"`
	// App and Owner say whose servers it asks; both may be empty.
	App   string `yaml:"app"`
	Owner string `yaml:"owner"`
	// Port is where the Envoys take devices, and ServerName what devices ask for and expect in the certificate.
	Port       uint16 `yaml:"port"`
	ServerName string `yaml:"server-name"`
	// ProxyProtocol tells that the Envoys expect the header of the PROXY protocol at Port.
	ProxyProtocol bool `yaml:"proxy-protocol"`
	// Certificate and Key are PEM files of the device, CA one of the authorities of the Envoys' certificate. They are
	// read for each probe, so that renewed ones are used.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	CA          string `yaml:"ca"`
	// ID is how the device calls itself: {id} in texts. It is in no result.
	ID string `yaml:"id"`
	// SecretFile holds a token or password: {secret} in texts.
	SecretFile string `yaml:"secret-file"`

	// The steps after "connect" and "tls"; those that are absent are not made.
	Hello            *DeviceExchange `yaml:"hello"`
	MessageToAgent   *DeviceExchange `yaml:"message-to-agent"`
	MessageFromAgent *DeviceExchange `yaml:"message-from-agent"`
	HTTPToAgent      *DeviceRequest  `yaml:"http-to-agent"`
	HTTPFromAgent    *DeviceExchange `yaml:"http-from-agent"`

	Limits DeviceLimits `yaml:"limits"`
}

// DeviceExchange is what a step sends, and what has to come then. One of them at least is not empty.
type DeviceExchange struct {
	// Send goes over the connection of the device.
	Send string `yaml:"send"`
	// Request goes to the agent by HTTP, through the same Envoy.
	Request *DeviceRequest `yaml:"request"`
	// Expect is a regular expression. It is looked for in all that came over the connection since the last text that fit.
	Expect string `yaml:"expect"`
}

// DeviceRequest is an HTTP request to the agent.
type DeviceRequest struct {
	// Method is GET if empty. URL names the domain and the port by which agents are reached at the Envoy.
	Method  string            `yaml:"method"`
	URL     string            `yaml:"url"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	// Status are those that are expected; any from 200 to 299 if empty.
	Status []int `yaml:"status"`
	// Expect is a regular expression for the answer's body.
	Expect string `yaml:"expect"`
}

// DeviceLimits say how long each step may take.
type DeviceLimits struct {
	Connect          time.Duration `yaml:"connect"`
	TLS              time.Duration `yaml:"tls"`
	Hello            time.Duration `yaml:"hello"`
	MessageToAgent   time.Duration `yaml:"message-to-agent"`
	MessageFromAgent time.Duration `yaml:"message-from-agent"`
	HTTPToAgent      time.Duration `yaml:"http-to-agent"`
	HTTPFromAgent    time.Duration `yaml:"http-from-agent"`
}

// CallbackSettings are where agents reach the probe by HTTP.
type CallbackSettings struct {
	// Listen is HOST:PORT. URL is how agents reach that; the path has a token behind it.
	Listen string `yaml:"listen"`
	URL    string `yaml:"url"`
	// Certificate and Key are PEM files; without them the probe takes plain HTTP.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// OrDefault returns the limits, with two seconds for connect and tls and three for others that are not set.
func (l DeviceLimits) OrDefault() DeviceLimits {
	const short, long = 2 * time.Second, 3 * time.Second
	return DeviceLimits{
		Connect: cmp.Or(l.Connect, short), TLS: cmp.Or(l.TLS, short), Hello: cmp.Or(l.Hello, long),
		MessageToAgent: cmp.Or(l.MessageToAgent, long), MessageFromAgent: cmp.Or(l.MessageFromAgent, long),
		HTTPToAgent: cmp.Or(l.HTTPToAgent, long), HTTPFromAgent: cmp.Or(l.HTTPFromAgent, long),
	}
}

// Longest is how long all steps of the device may take together.
func (d DeviceSettings) Longest() time.Duration {
	l := d.Limits.OrDefault()
	sum := l.Connect + l.TLS
	for _, step := range []struct {
		made  bool
		limit time.Duration
	}{
		{d.Hello != nil, l.Hello},
		{d.MessageToAgent != nil, l.MessageToAgent},
		{d.MessageFromAgent != nil, l.MessageFromAgent},
		{d.HTTPToAgent != nil, l.HTTPToAgent},
		{d.HTTPFromAgent != nil, l.HTTPFromAgent},
	} {
		if step.made {
			sum += step.limit
		}
	}
	return sum
}

// Target returns the target that asks as the device through an Envoy, whose host is that of its listeners.
func (d DeviceSettings) Target(fleet, envoy, host string) Target {
	return Target{
		ID: fleet + "/" + envoy + "/device/" + d.Name, Name: d.Name, Kind: Device, Fleet: fleet, Envoy: envoy,
		Address: net.JoinHostPort(host, strconv.Itoa(int(d.Port))), TLS: true, ServerName: d.ServerName, ProxyProtocol: d.ProxyProtocol,
		App: d.App, Owner: d.Owner, Ask: Ask{Within: d.Longest()},
	}
}
