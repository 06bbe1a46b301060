package document

import (
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/gqlhttp/present"
)

func one(err error) gqlerror.List { return gqlerror.List{present.Wrap(err)} }

// parseError and validationErrors keep gqlparser's sentences, which name the document's own words, without its
// literals and cut to a line.
func parseError(err error, tokens int) *gqlerror.Error {
	g := present.Wrap(err)
	switch {
	case strings.HasPrefix(g.Message, "exceeded token limit"):
		return present.Wrap(errs.New(errs.ResourceExhausted, "The document has more than %d tokens. Ask for less at once.", tokens))
	case strings.HasPrefix(g.Message, "exceeded maximum nesting"):
		return present.Wrap(errs.New(errs.ResourceExhausted, "The document is nested too deep. Ask for less at once."))
	}
	msg, _, isString := strings.Cut(g.Message, "String ")
	if isString {
		msg += "String"
	}
	return present.Protocol(errcode.ParseFailed, present.Line(msg, 200), g.Locations...)
}

func validationErrors(list gqlerror.List, most int) gqlerror.List {
	out := make(gqlerror.List, 0, min(len(list), most))
	for _, g := range list[:min(len(list), most)] {
		msg := g.Message
		if head, _, cut := strings.Cut(msg, " value: "); cut {
			msg = head + " value."
		}
		if head, _, cut := strings.Cut(msg, ", found "); cut {
			msg = head + "."
		}
		out = append(out, present.Protocol(errcode.ValidationFailed, present.Line(msg, 300), slices.Clone(g.Locations)...))
	}
	return out
}
