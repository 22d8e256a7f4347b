package traefik

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"

	"relay/internal/plural"
)

const (
	// maxRule is how long a rule may be, in bytes.
	maxRule = 4096
	// maxAlternatives is how many alternatives a rule may come to.
	maxAlternatives = 50
)

// condition is one matcher of a rule, such as Host(`a.test`).
type condition struct {
	// matcher is its name as Traefik's documentation has it, such as PathPrefix.
	matcher string
	values  []string
	not     bool
}

// alternative is a list of conditions that all hold.
type alternative []condition

// parseRule reads a rule of Traefik 2, as a list of alternatives. Its syntax is that of expressions of Go:
// https://doc.traefik.io/traefik/v2.11/routing/routers/#rule
func parseRule(rule string) ([]alternative, error) {
	if len(rule) > maxRule {
		return nil, fmt.Errorf("has more than %d bytes", maxRule)
	}
	expression, err := parser.ParseExpr(rule)
	if err != nil {
		return nil, errors.New("is no rule of Traefik: write it as Host(`a.example.com`) && PathPrefix(`/x`)")
	}
	return alternatives(expression, false)
}

// alternatives brings an expression, or its opposite, into the form of alternatives.
func alternatives(e ast.Expr, not bool) ([]alternative, error) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return alternatives(e.X, not)
	case *ast.UnaryExpr:
		if e.Op != token.NOT {
			break
		}
		return alternatives(e.X, !not)
	case *ast.BinaryExpr:
		if e.Op != token.LAND && e.Op != token.LOR {
			break
		}
		left, err := alternatives(e.X, not)
		if err != nil {
			return nil, err
		}
		right, err := alternatives(e.Y, not)
		if err != nil {
			return nil, err
		}
		if (e.Op == token.LOR) != not {
			return bounded(append(left, right...))
		}
		return product(left, right)
	case *ast.CallExpr:
		return call(e, not)
	}
	return nil, errors.New("has something that is no matcher of Traefik: write it as Host(`a.example.com`) && PathPrefix(`/x`)")
}

func bounded(all []alternative) ([]alternative, error) {
	if len(all) > maxAlternatives {
		return nil, fmt.Errorf("comes to more than %d alternatives: write several routers", maxAlternatives)
	}
	return all, nil
}

// product has each of both lists together.
func product(left, right []alternative) ([]alternative, error) {
	if len(left)*len(right) > maxAlternatives {
		return bounded(make([]alternative, maxAlternatives+1))
	}
	var all []alternative
	for _, l := range left {
		for _, r := range right {
			all = append(all, append(l[:len(l):len(l)], r...))
		}
	}
	return all, nil
}

// matchers are those of Traefik 2, by their names in lower case, and how many values each takes: 0 for one or
// more.
var matchers = map[string]struct {
	name   string
	values int
}{
	"host": {"Host", 0}, "hostheader": {"Host", 0}, "hostregexp": {"HostRegexp", 0}, "path": {"Path", 0}, "pathprefix": {"PathPrefix", 0}, "method": {"Method", 0},
	"headers": {"Headers", 2}, "headersregexp": {"HeadersRegexp", 2}, "query": {"Query", 0}, "clientip": {"ClientIP", 0},
	"hostsni": {"HostSNI", 0}, "hostsniregexp": {"HostSNIRegexp", 0}, "alpn": {"ALPN", 0},
}

// call reads a matcher. Of Query all values have to hold, of others one of them.
func call(e *ast.CallExpr, not bool) ([]alternative, error) {
	name, ok := e.Fun.(*ast.Ident)
	if !ok {
		return nil, errors.New("has something that is no matcher of Traefik")
	}
	m, known := matchers[strings.ToLower(name.Name)]
	if !known {
		return nil, fmt.Errorf("has the matcher %.40s, which Traefik 2 does not have", name.Name)
	}
	var values []string
	for _, arg := range e.Args {
		literal, ok := arg.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return nil, fmt.Errorf("has a value of %s that is not between backticks or quotes", m.name)
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			return nil, fmt.Errorf("has a value of %s that cannot be read", m.name)
		}
		values = append(values, strings.TrimSpace(value))
	}
	if len(values) == 0 || m.values > 0 && len(values) != m.values {
		return nil, fmt.Errorf("has %s in %s, which takes %s", plural.Of(len(values), "value"), m.name, numberOf(m.values))
	}
	if m.name != "Query" {
		return []alternative{{{m.name, values, not}}}, nil
	}
	var each []alternative
	for _, value := range values {
		each = append(each, alternative{{m.name, []string{value}, not}})
	}
	if not {
		return bounded(each)
	}
	var all alternative
	for _, one := range each {
		all = append(all, one...)
	}
	return []alternative{all}, nil
}

func numberOf(values int) string {
	if values == 0 {
		return "one or more"
	}
	return strconv.Itoa(values)
}
