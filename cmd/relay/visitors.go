package main

// VisitorFlags say what visitors of a fleet see and may use: flags for the one fleet, and keys of each fleet in
// the configuration file.
type VisitorFlags struct {
	ErrorPages string `group:"Fleet" placeholder:"DIR" yaml:"error-pages" help:"Folder with HTML that visitors see in place of the built-in error pages: CODE.html, such as busy.html, and default.html. Read at start."`

	ExtendedConnect bool `group:"Fleet" yaml:"extended-connect" help:"Take WebSockets by HTTP/2, too (RFC 8441): browsers then need no connection for each. The listeners change with it."`
}
