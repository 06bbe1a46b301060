package rule

import (
	"slices"
	"strings"

	"cdsa.dev/cdsa/internal/authz"
)

// Explanation is the question whether and why a principal may fetch rows of an entity, put to the database: the
// alternatives of the very scopes that narrow reads, each on its own.
type Explanation struct {
	p       *authz.Principal
	lacks   string // the entity's own permission, where p lacks it
	row     Scope
	content []Scope // in the order of details' texts
	details details
}

// details say of an entity what of a row some do not see who see the row; they are what package graph guards by.
type details struct {
	scopes func(p *authz.Principal) []Scope
	say    func(may []bool) string // "" when nothing is hidden
}

var hidden = map[string]details{
	"Document": {
		func(p *authz.Principal) []Scope { return []Scope{Readable(p, "uploaded_by")} },
		func(may []bool) string {
			if may[0] {
				return ""
			}
			return "Does not see its content, which is for the owner, for all where it is public, and for holders of the permission it is open to."
		},
	},
	"ToolExecution": {
		func(p *authz.Principal) []Scope { return []Scope{parameters(p), ownRows(p, "user_id")} },
		func(may []bool) string {
			switch {
			case may[1]:
				return ""
			case may[0]:
				return "Sees its parameters; result and error are redacted."
			}
			return "Sees parameters, result and error redacted."
		},
	},
}

// Explain asks for p and an entity, by its Go name. A nil principal may fetch nothing.
func Explain(entity string, p *authz.Principal) Explanation {
	e := Explanation{p: p, row: Fetchable(entity, p), details: hidden[entity]}
	if r, ok := table[entity]; ok && r.needs != openTo && !p.Can(r.needs) {
		e.lacks = r.needs
	}
	if p != nil && e.details.scopes != nil {
		e.content = e.details.scopes(p)
	}
	return e
}

// SQL renders an array of booleans, one for each alternative that Judge is to be told of, for the table alias, with
// arguments numbered from first.
func (e Explanation) SQL(alias string, first int) (string, []any) {
	var b strings.Builder
	var args []any
	b.WriteString("ARRAY[")
	for i := range e.row.parts {
		b.WriteString("COALESCE((")
		e.row.parts[i].write(&b, alias, first+len(args))
		b.WriteString("), FALSE), ")
		args = append(args, e.row.parts[i].args...)
	}
	for _, s := range e.content {
		text, more := s.SQL(alias, first+len(args))
		b.WriteString("COALESCE(" + text + ", FALSE), ")
		args = append(args, more...)
	}
	return strings.TrimSuffix(b.String(), ", ") + "]::boolean[]", args
}

// Judge says whether the row may be fetched, and why or why not: a sentence each.
func (e Explanation) Judge(holds []bool) (allowed bool, reasons []string) {
	for i, x := range e.row.parts {
		if holds[i] {
			allowed = true
			reasons = append(reasons, x.reason(e.p))
		}
	}
	switch {
	case allowed && e.details.say != nil:
		if s := e.details.say(holds[len(e.row.parts):]); s != "" {
			reasons = append(reasons, s)
		}
	case allowed:
	case e.lacks != "":
		reasons = append(reasons, "Lacks the permission "+e.lacks+".")
	default:
		reasons = append(reasons, "No rule lets this user see it.")
	}
	return allowed, slices.Compact(reasons)
}

// reason is the sentence for a row that the alternative opens to p.
func (x *part) reason(p *authz.Principal) string {
	var clauses []string
	for _, perm := range []string{x.need, x.perm} {
		clause := "holds " + perm
		if !p.Holds(perm) {
			clause = "passes " + perm + " as a superuser"
		}
		if perm != "" && !slices.Contains(clauses, clause) {
			clauses = append(clauses, clause)
		}
	}
	if x.why != "" {
		clauses = append(clauses, x.why)
	}
	s := strings.Join(clauses, " and ")
	if s == "" {
		return "Everyone who is signed in sees it."
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
