package traefik

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
)

// Constraints say which apps are read, by their labels: https://doc.traefik.io/traefik/v2.11/providers/marathon/#constraints.
type Constraints struct {
	hold func(labels map[string]string) bool
}

// ParseConstraints reads an expression such as Label(`edge`, `public`) && !LabelRegexp(`stage`, `^test`).
func ParseConstraints(text string) (*Constraints, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if len(text) > maxRule {
		return nil, fmt.Errorf("has more than %d bytes", maxRule)
	}
	e, err := parser.ParseExpr(text)
	if err != nil {
		return nil, errors.New("is no expression such as Label(`edge`, `public`)")
	}
	hold, err := constraint(e)
	if err != nil {
		return nil, err
	}
	return &Constraints{hold}, nil
}

func constraint(e ast.Expr) (func(map[string]string) bool, error) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return constraint(e.X)
	case *ast.UnaryExpr:
		inner, err := constraint(e.X)
		if err != nil || e.Op != token.NOT {
			break
		}
		return func(l map[string]string) bool { return !inner(l) }, nil
	case *ast.BinaryExpr:
		left, err := constraint(e.X)
		if err != nil {
			return nil, err
		}
		right, err := constraint(e.Y)
		if err != nil {
			return nil, err
		}
		switch e.Op {
		case token.LAND:
			return func(l map[string]string) bool { return left(l) && right(l) }, nil
		case token.LOR:
			return func(l map[string]string) bool { return left(l) || right(l) }, nil
		}
	case *ast.CallExpr:
		return labelConstraint(e)
	}
	return nil, errors.New("has something else than Label and LabelRegexp with !, && and || between")
}

func labelConstraint(e *ast.CallExpr) (func(map[string]string) bool, error) {
	name, _ := e.Fun.(*ast.Ident)
	if name == nil || name.Name != "Label" && name.Name != "LabelRegexp" || len(e.Args) != 2 {
		return nil, errors.New("has something else than Label and LabelRegexp with two values each")
	}
	var values []string
	for _, arg := range e.Args {
		literal, ok := arg.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return nil, errors.New("has a value that is not between backticks or quotes")
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			return nil, errors.New("has a value that cannot be read")
		}
		values = append(values, value)
	}
	if name.Name == "Label" {
		return func(l map[string]string) bool { return l[values[0]] == values[1] }, nil
	}
	pattern, err := regexp.Compile(values[1])
	if err != nil {
		return nil, fmt.Errorf("%.40q is no regular expression", values[1])
	}
	return func(l map[string]string) bool {
		value, ok := l[values[0]]
		return ok && pattern.MatchString(value)
	}, nil
}
