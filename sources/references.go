package sources

// AppRef names a port of another app, such as the one that signs people on.
type AppRef struct {
	// App is the id: "/platform/sso".
	App  string
	Port int `json:",omitempty"`
}
