package admin

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// commentsOf returns what the code says of the types and fields of packages, by "Type" and
// "Type.Field". Of two types with the same name, that of the first package counts.
func commentsOf(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	docs := make(map[string]string)
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			addComments(docs, parsed)
		}
	}
	return docs
}

func addComments(docs map[string]string, file *ast.File) {
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.TYPE {
			continue
		}
		for _, spec := range group.Specs {
			name := spec.(*ast.TypeSpec).Name.Name
			structure, ok := spec.(*ast.TypeSpec).Type.(*ast.StructType)
			if _, known := docs[name]; known || !ok {
				continue
			}
			docs[name] = words(group.Doc)
			for _, field := range structure.Fields.List {
				for _, one := range field.Names {
					docs[name+"."+one.Name] = words(field.Doc)
				}
			}
		}
	}
}

func words(comment *ast.CommentGroup) string {
	return strings.Join(strings.Fields(comment.Text()), " ")
}
