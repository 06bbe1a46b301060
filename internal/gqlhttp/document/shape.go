package document

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/gqlhttp/present"
)

// maxRepeats is how often one selection may name the same field: merging them is quadratic.
const maxRepeats = 50

// maxLiteralDepth bounds lists and objects inside literals.
const maxLiteralDepth = 30

// shape measures a document that is parsed but not validated, so that validation, which is quadratic in places, only
// sees documents of a bounded size. Every node is visited once.
type shape struct {
	limits     *Limits
	fragments  map[string]*ast.FragmentDefinition
	depths     map[string]int // of finished fragments; -1 while one is entered
	aliases    int
	directives int
	fields     int
	err        error
}

// checkShape gives RESOURCE_EXHAUSTED for a limit passed, BAD_USER_INPUT for a NUL in a literal and
// GRAPHQL_VALIDATION_FAILED for fragments that spread each other in a circle.
func checkShape(doc *ast.QueryDocument, limits *Limits) error {
	if len(doc.Operations) > limits.MaxOperations {
		return exhausted("operations", limits.MaxOperations)
	}
	if len(doc.Fragments) > limits.MaxFragments {
		return exhausted("fragments", limits.MaxFragments)
	}
	s := &shape{limits: limits, fragments: make(map[string]*ast.FragmentDefinition, len(doc.Fragments)), depths: map[string]int{}}
	for _, f := range doc.Fragments {
		if s.fragments[f.Name] == nil { // the first of a name counts, as in validation, which refuses the second
			s.fragments[f.Name] = f
		}
	}
	for _, f := range doc.Fragments {
		s.directivesOf(f.Directives)
		if s.fragments[f.Name] == f {
			s.fragment(f.Name)
		} else {
			s.selection(f.SelectionSet)
		}
	}
	for _, op := range doc.Operations {
		s.directivesOf(op.Directives)
		for _, v := range op.VariableDefinitions {
			s.directivesOf(v.Directives)
			s.value(v.DefaultValue, 0)
		}
		if s.selection(op.SelectionSet) > limits.MaxDepth {
			s.fail(errs.New(errs.ResourceExhausted, "The document is nested deeper than %d fields. Ask for less at once.", limits.MaxDepth))
		}
	}
	return s.err
}

func exhausted(what string, limit int) error {
	return errs.New(errs.ResourceExhausted, "The document has more than %d %s. Ask for less at once.", limit, what)
}

// fail keeps the first error; the walk then unwinds.
func (s *shape) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// count adds to a counter until its limit.
func (s *shape) count(counter *int, limit int, what string) {
	if *counter++; *counter > limit {
		s.fail(exhausted(what, limit))
	}
}

// selection gives the depth in fields.
func (s *shape) selection(set ast.SelectionSet) int {
	deepest := 0
	s.repeats(set)
	for _, sel := range set {
		if s.err != nil {
			return 0
		}
		depth := 0
		switch sel := sel.(type) {
		case *ast.Field:
			s.count(&s.fields, s.limits.MaxFields, "fields")
			if sel.Alias != sel.Name {
				s.count(&s.aliases, s.limits.MaxAliases, "aliases")
			}
			s.arguments(sel.Arguments)
			s.directivesOf(sel.Directives)
			depth = 1 + s.selection(sel.SelectionSet)
		case *ast.InlineFragment:
			s.count(&s.fields, s.limits.MaxFields, "fields")
			s.directivesOf(sel.Directives)
			depth = s.selection(sel.SelectionSet)
		case *ast.FragmentSpread:
			s.count(&s.fields, s.limits.MaxFields, "fields")
			s.directivesOf(sel.Directives)
			depth = s.fragment(sel.Name)
		}
		deepest = max(deepest, depth)
	}
	return deepest
}

func (s *shape) repeats(set ast.SelectionSet) {
	if len(set) <= maxRepeats || s.err != nil {
		return
	}
	seen := map[string]int{}
	for _, sel := range set {
		if f, ok := sel.(*ast.Field); ok {
			if seen[f.Alias]++; seen[f.Alias] > maxRepeats {
				s.fail(errs.New(errs.ResourceExhausted, "The document repeats a field more than %d times in one place. Name it once.", maxRepeats))
				return
			}
		}
	}
}

func (s *shape) fragment(name string) int {
	f := s.fragments[name]
	if f == nil || s.err != nil { // an unknown name is validation's to report
		return 0
	}
	depth, entered := s.depths[name]
	if entered && depth < 0 {
		s.fail(present.Protocol(errcode.ValidationFailed, "A fragment spreads itself, directly or through others."))
		return 0
	}
	if entered {
		return depth
	}
	s.depths[name] = -1
	depth = s.selection(f.SelectionSet)
	s.depths[name] = depth
	return depth
}

func (s *shape) directivesOf(list ast.DirectiveList) {
	for _, d := range list {
		if s.err != nil {
			return
		}
		s.count(&s.directives, s.limits.MaxDirectives, "directives")
		s.arguments(d.Arguments)
	}
}

func (s *shape) arguments(list ast.ArgumentList) {
	for _, a := range list {
		s.value(a.Value, 0)
	}
}

func (s *shape) value(v *ast.Value, depth int) {
	if v == nil || s.err != nil {
		return
	}
	if depth > maxLiteralDepth {
		s.fail(errs.New(errs.ResourceExhausted, "A literal is nested deeper than %d levels. Send it as a variable.", maxLiteralDepth))
		return
	}
	if strings.IndexByte(v.Raw, 0) >= 0 || !utf8.ValidString(v.Raw) {
		s.fail(errs.New(errs.BadUserInput, "A literal contains a NUL character or is not valid UTF-8. Remove it."))
		return
	}
	if !storable(v) {
		s.fail(errs.New(errs.BadUserInput, "A number in the document is too large. Send a smaller one."))
		return
	}
	for _, c := range v.Children {
		s.value(c.Value, depth+1)
	}
}

// storable says whether a number can be read at all; gqlparser panics later on one that cannot.
func storable(v *ast.Value) bool {
	var err error
	switch v.Kind {
	case ast.IntValue:
		_, err = strconv.ParseInt(v.Raw, 10, 64)
	case ast.FloatValue:
		_, err = strconv.ParseFloat(v.Raw, 64)
	}
	return err == nil
}

// maxIntrospectionLists is how deep lists of the introspection schema may nest. The query every tool sends has three:
// types, fields, args.
const maxIntrospectionLists = 3

// introspectionLists are the list fields of __Schema and __Type; ofType is none, so its chains are free.
var introspectionLists = map[string]bool{
	"types": true, "directives": true, "fields": true, "args": true, "inputFields": true,
	"enumValues": true, "possibleTypes": true, "interfaces": true,
}

// checkIntrospection holds for everyone; the document is valid and free of cycles.
func checkIntrospection(doc *ast.QueryDocument) error {
	in := introspection{memo: map[string]int{}}
	for _, op := range doc.Operations {
		tooDeep := false
		reach(op.SelectionSet, map[string]bool{}, func(f *ast.Field) {
			if f.Name == "__schema" || f.Name == "__type" {
				tooDeep = tooDeep || in.depth(f.SelectionSet) > maxIntrospectionLists
			}
		})
		if tooDeep {
			return errs.New(errs.ResourceExhausted, "Introspection nests lists deeper than %d. Ask for less at once.", maxIntrospectionLists)
		}
	}
	return nil
}

type introspection struct {
	memo map[string]int // fragment to depth
}

func (in introspection) depth(set ast.SelectionSet) int {
	deepest := 0
	for _, sel := range set {
		depth := 0
		switch sel := sel.(type) {
		case *ast.Field:
			if depth = in.depth(sel.SelectionSet); introspectionLists[sel.Name] {
				depth++
			}
		case *ast.InlineFragment:
			depth = in.depth(sel.SelectionSet)
		case *ast.FragmentSpread:
			var known bool
			if depth, known = in.memo[sel.Name]; !known {
				depth = in.depth(sel.Definition.SelectionSet)
				in.memo[sel.Name] = depth
			}
		}
		deepest = max(deepest, depth)
	}
	return deepest
}
