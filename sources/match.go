package sources

// MaxMatches is the number of a port's Match, and MaxMatchParts how many parts one may have.
const (
	MaxMatches    = 20
	MaxMatchParts = 20
	// MaxMatchBytes is the length of a value or regular expression in it.
	MaxMatchBytes = 1024
)

// Match is what a request must be like, beyond its path: all that it says. It is never modified.
type Match struct {
	// Scheme is that by which the client asks, "http" or "https"; empty for both.
	Scheme string `json:",omitempty"`
	// Headers and Query are headers and parameters of the query. The header ":method" is the method.
	Headers []FieldMatch `json:",omitempty"`
	Query   []FieldMatch `json:",omitempty"`
	// NotPaths are those that the request must not ask for.
	NotPaths []Path `json:",omitempty"`
}

// FieldMatch is what a header or a parameter of the query must be like.
type FieldMatch struct {
	// Name is in lower case, if it is a header's.
	Name string
	// Value is what it must be; empty for anything, as long as it is there. With Regex it is a regular
	// expression (RE2), which the whole value must fit.
	Value string `json:",omitempty"`
	Regex bool   `json:",omitempty"`
	// Not is true if the request must not have such a field.
	Not bool `json:",omitempty"`
}
