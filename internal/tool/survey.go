package tool

import (
	"net/url"
	"strconv"
	"strings"

	"cdsa.dev/cdsa/internal/errs"
)

// maxUnfolded bounds a schema with every reference written out: validation visits each part of it once per value at
// most, so a short document of references to references cannot make a check take long.
const maxUnfolded = 2_000

var (
	oneSchema = []string{"additionalProperties", "unevaluatedProperties", "propertyNames", "items", "unevaluatedItems", "contains",
		"not", "if", "then", "else", "contentSchema"}
	listOfSchemas = []string{"allOf", "anyOf", "oneOf", "prefixItems"}
	mapOfSchemas  = []string{"properties", "patternProperties", "dependentSchemas"}
	onlyNamed     = []string{"$defs", "definitions"}
	refused       = []string{"$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor", "$vocabulary", "$id", "$schema"}
)

type surveyor struct {
	root any
	size map[string]int // by reference
	open map[string]bool
}

// survey walks a schema before the compiler sees it and refuses, on field, what could reach outside the document,
// recurse, or unfold beyond maxUnfolded.
func survey(doc map[string]any, field string) error {
	s := surveyor{root: doc, size: map[string]int{}, open: map[string]bool{"#": true}}
	_, err := s.visit(doc, field)
	return err
}

func (s *surveyor) visit(node any, path string) (int, error) {
	m, ok := node.(map[string]any)
	if !ok {
		return 1, nil // true, false, or for the compiler to refuse
	}
	for _, k := range refused {
		if _, ok := m[k]; ok {
			return 0, errs.Input(path+"."+k, "A tool's schema may not use %s here.", k)
		}
	}
	total := 1
	add := func(child any, path string) error {
		n, err := s.visit(child, path)
		if total += n; err == nil && total > maxUnfolded {
			err = errs.Input(path, "The schema is too large once its references are written out; simplify it.")
		}
		return err
	}
	for _, k := range oneSchema {
		if c, ok := m[k]; ok {
			if err := add(c, path+"."+k); err != nil {
				return 0, err
			}
		}
	}
	if err := s.visitNested(m, path, add); err != nil {
		return 0, err
	}
	if ref, ok := m["$ref"]; ok {
		n, err := s.follow(ref, path+".$ref")
		if total += n; err == nil && total > maxUnfolded {
			err = errs.Input(path+".$ref", "The schema is too large once its references are written out; simplify it.")
		}
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

func (s *surveyor) visitNested(m map[string]any, path string, add func(any, string) error) error {
	for _, k := range listOfSchemas {
		list, _ := m[k].([]any)
		for i, c := range list {
			if err := add(c, path+"."+k+"."+strconv.Itoa(i)); err != nil {
				return err
			}
		}
	}
	for _, k := range mapOfSchemas {
		children, _ := m[k].(map[string]any)
		for name, c := range children {
			if err := add(c, path+"."+k+"."+name); err != nil {
				return err
			}
		}
	}
	for _, k := range onlyNamed {
		children, _ := m[k].(map[string]any)
		for name, c := range children {
			if _, err := s.visit(c, path+"."+k+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow gives the size of what a reference names.
func (s *surveyor) follow(ref any, path string) (int, error) {
	r, ok := ref.(string)
	if !ok || r != "#" && !strings.HasPrefix(r, "#/") {
		return 0, errs.Input(path, "A $ref must be a JSON pointer into the same schema, such as #/$defs/name.")
	}
	if n, ok := s.size[r]; ok {
		return n, nil
	}
	if s.open[r] {
		return 0, errs.Input(path, "A tool's schema may not refer to itself; write out as many levels as the tool needs.")
	}
	target, ok := resolve(s.root, r)
	if !ok {
		return 0, errs.Input(path, "This $ref names nothing in the schema.")
	}
	s.open[r] = true
	n, err := s.visit(target, path)
	delete(s.open, r)
	if err == nil {
		s.size[r] = n
	}
	return n, err
}

// resolve follows a JSON pointer (RFC 6901) in URI fragment form.
func resolve(node any, ref string) (any, bool) {
	p, err := url.PathUnescape(strings.TrimPrefix(ref, "#"))
	if err != nil {
		return nil, false
	}
	for _, tok := range strings.Split(p, "/")[1:] {
		tok = strings.ReplaceAll(strings.ReplaceAll(tok, "~1", "/"), "~0", "~")
		switch n := node.(type) {
		case map[string]any:
			child, ok := n[tok]
			if !ok {
				return nil, false
			}
			node = child
		case []any:
			i, err := strconv.Atoi(tok)
			if err != nil || i < 0 || i >= len(n) {
				return nil, false
			}
			node = n[i]
		default:
			return nil, false
		}
	}
	return node, true
}
