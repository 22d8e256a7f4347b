package probe

// DeviceSettings are those of a virtual device.
type DeviceSettings struct {
	Name string `yaml:"name"`
}

// CallbackSettings say where agents reach the probe.
type CallbackSettings struct {
	Listen string `yaml:"listen"`
	URL    string `yaml:"url"`
}

// checkDevices returns what is wrong with devices.
func checkDevices([]DeviceSettings, CallbackSettings) error { return nil }
