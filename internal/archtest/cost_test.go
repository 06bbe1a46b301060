package archtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

// hashWeight is the least @cost of an operation for each password or recovery code that it hashes: 5 points more.
const hashWeight = 500

// TestSchema_HashesCost: every mutation that takes a password or hashes a code has the weight of it.
func TestSchema_HashesCost(t *testing.T) {
	files, err := filepath.Glob("../../graph/schema/*.graphql")
	require.NoError(t, err)
	var sources []*ast.Source
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		sources = append(sources, &ast.Source{Name: f, Input: string(text)})
	}
	schema, err := gqlparser.LoadSchema(sources...)
	require.NoError(t, err)
	hashes := map[string]int{"stepUp": 1, "confirmTotp": 10, "disableTotp": 2}
	found := 0
	for _, f := range schema.Mutation.Fields {
		passwords := 0
		var look func(name string, typ *ast.Type)
		look = func(name string, typ *ast.Type) {
			if d := schema.Types[typ.Name()]; d.Kind == ast.InputObject {
				for _, in := range d.Fields {
					look(in.Name, in.Type)
				}
			} else if strings.HasSuffix(strings.ToLower(name), "password") {
				passwords++
			}
		}
		for _, a := range f.Arguments {
			look(a.Name, a.Type)
		}
		n := max(passwords, hashes[f.Name])
		if n == 0 {
			continue
		}
		found++
		d := f.Directives.ForName("cost")
		require.NotNil(t, d, "%s hashes and has no @cost", f.Name)
		weight, err := strconv.Atoi(d.Arguments.ForName("weight").Value.Raw)
		require.NoError(t, err)
		require.GreaterOrEqual(t, weight, n*hashWeight, f.Name)
	}
	require.GreaterOrEqual(t, found, 11)
}
