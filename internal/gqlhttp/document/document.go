package document

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/gqlhttp/present"
	"cdsa.dev/cdsa/internal/meter"
	"cdsa.dev/cdsa/internal/ratelimit"
	"cdsa.dev/cdsa/internal/selection"
)

// maxSuggest is the longest document that gets suggestions, bytes: finding them is quadratic in the names' length.
const maxSuggest = 4 << 10

// document is a parsed, validated and completed document with what each operation needs to be judged. Read-only.
type document struct {
	doc    *ast.QueryDocument
	ops    map[*ast.OperationDefinition]*operation
	fields *selection.Memo
}

// operation is what is known of an operation before its variables are.
type operation struct {
	sites       []*site // paged fields that variables or cursors have a say in
	filters     []*ast.Argument
	introspects bool
	cost        int  // where it does not depend on variables
	fixedCost   bool // says that it does not
}

// documents is the gqlgen extension that turns a query text into a document, and the query cache in front of gqlgen's
// own parser, which therefore never runs.
type documents struct {
	limits Limits
	saved  persistedQueries
	inner  graphql.ErrorPresenterFunc
	schema *ast.Schema
	cached regions[*document]
	plain  *rules.Rules // without suggestions
	kind   *rules.Rules // with suggestions
}

var _ interface {
	graphql.OperationParameterMutator
	graphql.OperationContextMutator
	graphql.ResponseInterceptor
	graphql.FieldInterceptor
	graphql.HandlerExtension
	graphql.Cache[*ast.QueryDocument]
} = (*documents)(nil)

func (*documents) ExtensionName() string { return "Documents" }

func (d *documents) Validate(es graphql.ExecutableSchema) error {
	if d.limits.ValidCursor == nil {
		return errors.New("document: Limits.ValidCursor is not set")
	}
	d.schema = es.Schema()
	d.cached = newRegions[*document](1000, documentBytes)
	d.kind = rules.NewDefaultRules()
	d.plain = rules.NewDefaultRules()
	d.plain.ReplaceRule(rules.FieldsOnCorrectTypeRule.Name, rules.FieldsOnCorrectTypeRuleWithoutSuggestions.RuleFunc)
	d.plain.ReplaceRule(rules.ScalarLeafsRule.Name, rules.ScalarLeafsRuleWithoutSuggestions.RuleFunc)
	d.plain.ReplaceRule(rules.ValuesOfCorrectTypeRule.Name, rules.ValuesOfCorrectTypeRuleWithoutSuggestions.RuleFunc)
	d.plain.ReplaceRule(rules.KnownArgumentNamesRule.Name, rules.KnownArgumentNamesRuleWithoutSuggestions.RuleFunc)
	d.plain.ReplaceRule(rules.KnownTypeNamesRule.Name, rules.KnownTypeNamesRuleWithoutSuggestions.RuleFunc)
	return nil
}

const recordKey = "Documents"

// record is what this package keeps of one running operation.
type record struct {
	document *document
	cost     int
	weight   int           // of the variables as they were sent
	invalid  gqlerror.List // validation errors behind the first, which is all a mutator can return
	errors   atomic.Int64  // presented for the current response
	budget   ratelimit.Budget
	charged  bool // budget is set
	limited  bool // the budget was used up
	price    int  // in points, if it is refused; 0: the least
}

func recordOf(ctx context.Context) *record {
	if !graphql.HasOperationContext(ctx) {
		return nil
	}
	r, _ := graphql.GetOperationContext(ctx).Stats.GetExtension(recordKey).(*record)
	return r
}

// Cost is the cost of the operation in ctx: one for each field, a connection's selection times its page size, and
// what @cost says. Zero outside of an operation.
func Cost(ctx context.Context) int {
	if r := recordOf(ctx); r != nil {
		return r.cost
	}
	return 0
}

// BudgetOf is what the caller of the operation in ctx has left after it; false where there are no budgets.
func BudgetOf(ctx context.Context) (b ratelimit.Budget, ok bool) {
	if r := recordOf(ctx); r != nil {
		return r.budget, r.charged
	}
	return b, false
}

// MutateOperationParameters parses the query, or finds it, before gqlgen would.
func (d *documents) MutateOperationParameters(ctx context.Context, p *graphql.RawParams) *gqlerror.Error {
	r := &record{}
	oc := graphql.GetOperationContext(ctx)
	oc.Stats.SetExtension(recordKey, r)
	oc.Stats.Parsing.Start = graphql.Now()
	if err := d.saved.MutateOperationParameters(ctx, p); err != nil {
		r.price = ratelimit.RefusedPoints(len(p.Query), 0) // its hash was made
		return err
	}
	if p.Query == "" {
		return present.Wrap(errs.Input("query", "The request has no query. Send the GraphQL document as the string \"query\"."))
	}
	doc, ok := d.cached.get(p.Query)
	if !ok {
		if d.limits.Budgets != nil {
			if err := d.limits.Budgets.Admit(ctx); err != nil {
				r.limited = true
				return present.Wrap(err)
			}
		}
		var list gqlerror.List
		var found int
		doc, list, found = d.prepare(p.Query, authz.From(ctx) != nil)
		r.price = ratelimit.RefusedPoints(len(p.Query), found)
		if len(list) > 0 {
			r.invalid = list[1:]
			return list[0]
		}
		d.cached.add(ctx, p.Query, doc, len(p.Query))
	}
	if doc.doc.Operations.ForName(p.OperationName) == nil {
		return present.Protocol(errcode.ValidationFailed, "The document has no operation of the name given, or several and none is named by operationName.")
	}
	r.document, r.weight = doc, weightOf(p.Variables)
	oc.Doc = doc.doc
	selection.Set(oc, doc.fields)
	return nil
}

// Get gives gqlgen what MutateOperationParameters prepared for this very operation.
func (d *documents) Get(ctx context.Context, _ string) (*ast.QueryDocument, bool) {
	doc := graphql.GetOperationContext(ctx).Doc
	return doc, doc != nil
}

// Add keeps nothing: only a prepared document is ever shared.
func (*documents) Add(context.Context, string, *ast.QueryDocument) {}

// MutateOperationContext judges the operation by its caller and its variables.
func (d *documents) MutateOperationContext(ctx context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	r := recordOf(ctx)
	if r == nil || r.document == nil || r.document.ops[oc.Operation] == nil {
		return present.Wrap(errors.New("operation was not prepared"))
	}
	op := r.document.ops[oc.Operation]
	if authz.From(ctx) != nil {
		oc.DisableIntrospection = false
	} else if op.introspects {
		return present.Wrap(errs.New(errs.Unauthenticated, "Introspection needs a signed-in caller. Sign in first."))
	}
	for _, s := range op.sites {
		if err := s.resolve(&d.limits, oc.Variables); err != nil {
			return present.Wrap(err)
		}
	}
	if err := (coercer{d.schema}).check(oc.Operation.VariableDefinitions, oc.Variables); err != nil {
		return present.Wrap(err)
	}
	if err := (&filters{limits: &d.limits}).check(op.filters, oc.Variables); err != nil {
		return present.Wrap(err)
	}
	// gqlparser counts names, not fields, and what is skipped.
	if oc.Operation.Operation == ast.Subscription && len(graphql.CollectFields(oc, oc.Operation.SelectionSet, []string{d.schema.Subscription.Name})) != 1 {
		return present.Protocol(errcode.ValidationFailed, "A subscription has exactly one root field.")
	}
	r.cost = op.cost
	if !op.fixedCost {
		r.cost = costOf(oc.Operation.SelectionSet, oc.Variables, d.limits.PageDefault)
	}
	if r.cost > d.limits.MaxCost {
		return present.Wrap(errs.New(errs.ResourceExhausted,
			"The operation costs %d, more than the %d allowed. Ask for smaller pages or fewer fields.", r.cost, d.limits.MaxCost))
	}
	if d.limits.Budgets != nil {
		var err error
		if r.budget, err = d.limits.Budgets.Charge(ctx, r.cost+ratelimit.CostPerPoint*(r.weight/ratelimit.BytesPerPoint)); err != nil {
			r.limited = true
			return present.Wrap(err)
		}
		r.charged = true
	}
	return nil
}

// InterceptResponse completes the validation errors, bounds all others, tells the budget, or charges the refusal: every
// transport has what it refuses presented here, wherever in between it was refused.
func (d *documents) InterceptResponse(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	r := recordOf(ctx)
	if r == nil {
		return next(ctx)
	}
	resp := next(meter.With(ctx, int64(d.limits.MaxAnswer)))
	if resp == nil {
		return nil
	}
	if !r.charged && !r.limited && d.limits.Budgets != nil {
		d.limits.Budgets.Debit(ctx, max(r.price, ratelimit.RefusedPoints(0, 0)))
	}
	for _, err := range r.invalid {
		if g := d.present(ctx, err); g != nil {
			resp.Errors = append(resp.Errors, g)
		}
	}
	if dropped := r.errors.Swap(0) - int64(d.limits.MaxErrors); dropped > 0 && len(resp.Errors) > 0 {
		resp.Errors[len(resp.Errors)-1] = d.inner(ctx, errs.New(errs.ResourceExhausted,
			"There were more than %d errors; the rest is left out.", d.limits.MaxErrors-1))
	}
	if r.charged && graphql.GetOperationContext(ctx).Operation.Operation != ast.Subscription {
		if resp.Extensions == nil {
			resp.Extensions = map[string]any{}
		}
		resp.Extensions[CostExtension] = &r.budget
	}
	return resp
}

// InterceptField counts what a field adds to the answer, whoever gave it and however often.
func (*documents) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	v, err := next(ctx)
	if err != nil {
		return v, err
	}
	m := meter.From(ctx)
	if m == nil {
		return v, nil
	}
	if err := m.Write(len(graphql.GetFieldContext(ctx).Field.Alias) + len(`"":,`) + meter.Size(v)); err != nil {
		return nil, err
	}
	return v, nil
}

// CostExtension is the key of a response's extensions that has the *ratelimit.Budget.
const CostExtension = "cost"

// present drops the errors beyond MaxErrors of a response: gqlgen compares each with all before it.
func (d *documents) present(ctx context.Context, err error) *gqlerror.Error {
	if r := recordOf(ctx); r != nil && r.errors.Add(1) > int64(d.limits.MaxErrors) {
		return nil
	}
	if d.limits.Translate != nil {
		err = d.limits.Translate(ctx, err)
	}
	return d.inner(ctx, err)
}

// prepare makes a document of a text, or says what is wrong with it and how many validation errors that took to find.
func (d *documents) prepare(query string, signedIn bool) (_ *document, wrong gqlerror.List, found int) {
	if !utf8.ValidString(query) || strings.IndexByte(query, 0) >= 0 {
		return nil, one(errs.Input("query", "The query contains a NUL character or is not valid UTF-8. Remove it.")), 0
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: query}, d.limits.MaxTokens)
	if err != nil {
		return nil, gqlerror.List{parseError(err, d.limits.MaxTokens)}, 0
	}
	if len(doc.Operations) == 0 {
		return nil, gqlerror.List{present.Protocol(errcode.ParseFailed, "The document has no operation.")}, 0
	}
	if err := checkShape(doc, &d.limits); err != nil {
		return nil, gqlerror.List{present.Wrap(err)}, 0
	}
	set := d.plain
	if signedIn && len(query) <= maxSuggest {
		set = d.kind
	}
	if list := validator.ValidateWithRules(d.schema, doc, set); len(list) > 0 {
		return nil, validationErrors(list, d.limits.MaxErrors), len(list)
	}
	if err := checkIntrospection(doc); err != nil {
		return nil, one(err), 0
	}
	sites, perr := completePages(doc, &d.limits)
	if perr != nil {
		return nil, one(perr), 0
	}
	out := &document{doc: doc, ops: make(map[*ast.OperationDefinition]*operation, len(doc.Operations)), fields: selection.NewMemo(query)}
	for _, od := range doc.Operations {
		op, err := d.describe(od, sites)
		if err != nil {
			return nil, one(err), 0
		}
		out.ops[od] = op
	}
	return out, nil, 0
}

func (d *documents) describe(od *ast.OperationDefinition, sites map[*ast.Field]*site) (*operation, error) {
	op := &operation{}
	variable := false
	reach(od.SelectionSet, map[string]bool{}, func(f *ast.Field) {
		if s := sites[f]; s != nil {
			op.sites = append(op.sites, s)
		}
		op.filters = append(op.filters, filtersOf(f)...)
		op.introspects = op.introspects || f.Name == "__schema" || f.Name == "__type"
		variable = variable || costVaries(f)
	})
	if od.Operation == ast.Mutation {
		n := 0
		rootFields(od.SelectionSet, map[string]bool{}, &n)
		if n > d.limits.MaxMutations {
			return nil, errs.New(errs.ResourceExhausted, "One operation may have %d mutations. Send the rest separately.", d.limits.MaxMutations)
		}
	}
	if op.fixedCost = !variable; op.fixedCost {
		op.cost = costOf(od.SelectionSet, nil, d.limits.PageDefault)
	}
	return op, nil
}

// reach calls visit for every field of the selection, entering each fragment once.
func reach(set ast.SelectionSet, entered map[string]bool, visit func(*ast.Field)) {
	for _, sel := range set {
		switch sel := sel.(type) {
		case *ast.Field:
			visit(sel)
			reach(sel.SelectionSet, entered, visit)
		case *ast.InlineFragment:
			reach(sel.SelectionSet, entered, visit)
		case *ast.FragmentSpread:
			if !entered[sel.Name] {
				entered[sel.Name] = true
				reach(sel.Definition.SelectionSet, entered, visit)
			}
		}
	}
}

func rootFields(set ast.SelectionSet, entered map[string]bool, n *int) {
	for _, sel := range set {
		switch sel := sel.(type) {
		case *ast.Field:
			*n++
		case *ast.InlineFragment:
			rootFields(sel.SelectionSet, entered, n)
		case *ast.FragmentSpread:
			if !entered[sel.Name] {
				entered[sel.Name] = true
				rootFields(sel.Definition.SelectionSet, entered, n)
			}
		}
	}
}
