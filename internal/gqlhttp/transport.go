package gqlhttp

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/errs"
)

// post is the POST transport of the GraphQL over HTTP draft. It claims every POST that is left, to refuse what is not
// JSON with 415.
type post struct{ *endpoint }

func (post) Supports(r *http.Request) bool { return r.Method == http.MethodPost }

func (t post) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	start := graphql.TraceTiming{Start: graphql.Now()}
	t.serve(w, r, exec, func(x *exchange) {
		if !x.admit() {
			return
		}
		if !jsonContent(r.Header) {
			x.drain()
			x.refuseInput(http.StatusUnsupportedMediaType, 0, errs.New(errs.BadUserInput,
				"Send the request as Content-Type: application/json in UTF-8 without compression, or files as multipart/form-data."))
			return
		}
		body, ok := x.readBody(t.MaxBody)
		if !ok {
			return
		}
		p, err := Decode(body)
		if err != nil {
			x.refuseInput(http.StatusBadRequest, len(body), err)
			return
		}
		x.run(&p, start, refuseSubscription)
	})
}

// get carries queries only, and only for pages of this origin or an allowed one: it needs no preflight, so any page
// could send it.
type get struct{ *endpoint }

func (get) Supports(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Upgrade") == ""
}

func (t get) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	start := graphql.TraceTiming{Start: graphql.Now()}
	t.serve(w, r, exec, func(x *exchange) {
		if !t.sameSite(r) {
			x.refuse(http.StatusForbidden, errs.New(errs.Forbidden,
				"GET is not answered to pages of other sites. Use POST, or have the operator allow this origin."))
			return
		}
		if !x.admit() {
			return
		}
		p, err := decodeURL(r.URL.RawQuery)
		if err != nil {
			x.refuseInput(http.StatusBadRequest, len(r.URL.RawQuery), err)
			return
		}
		x.run(&p, start, func(op ast.Operation) (int, error) {
			if op == ast.Mutation {
				w.Header().Set("Allow", http.MethodPost)
				return http.StatusMethodNotAllowed, errs.New(errs.BadUserInput, "GET carries queries only. Send mutations by POST.")
			}
			return refuseSubscription(op)
		})
	})
}

// sameSite judges by the headers a page cannot forge. An allowed origin outweighs Sec-Fetch-Site.
func (t get) sameSite(r *http.Request) bool {
	crossSite := r.Header.Get("Sec-Fetch-Site") == "cross-site"
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return !crossSite
	}
	if len(origins) > 1 {
		return false
	}
	for _, allowed := range t.AllowedOrigins {
		if origins[0] == strings.TrimSuffix(allowed, "/") {
			return true
		}
	}
	u, err := url.Parse(origins[0])
	return err == nil && !crossSite && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// decodeURL reads the parameters of a GET; variables and extensions are JSON.
func decodeURL(raw string) (graphql.RawParams, error) {
	var p graphql.RawParams
	values, err := url.ParseQuery(raw)
	if err != nil {
		return p, errs.New(errs.BadUserInput, "The URL's query string is not properly encoded.")
	}
	for _, name := range []string{"query", "operationName", "variables", "extensions"} {
		if len(values[name]) > 1 {
			return p, errs.Input(name, "%q is given more than once.", name)
		}
		if err := cleanText(name, values.Get(name)); err != nil {
			return p, err
		}
	}
	p.Query, p.OperationName = values.Get("query"), values.Get("operationName")
	if p.Variables, err = jsonParam(values, "variables"); err != nil {
		return p, err
	}
	if p.Extensions, err = jsonParam(values, "extensions"); err != nil {
		return p, err
	}
	return p, complete(&p)
}

func jsonParam(values url.Values, name string) (map[string]any, error) {
	s := strings.TrimSpace(values.Get(name))
	if jsonDepth([]byte(s)) > maxJSONDepth {
		return nil, errs.New(errs.ResourceExhausted, "%q is nested deeper than %d levels. Send flatter data.", name, maxJSONDepth)
	}
	return objectField(name, []byte(s))
}

// leftOver answers every method that is not GraphQL over HTTP.
type leftOver struct{ *endpoint }

func (leftOver) Supports(*http.Request) bool { return true }

func (t leftOver) Do(w http.ResponseWriter, r *http.Request, exec graphql.GraphExecutor) {
	w.Header().Set("Allow", "GET, POST")
	x := &exchange{endpoint: t.endpoint, w: w, r: r, exec: exec, buf: borrow()}
	defer x.buf.release()
	if r.Method == http.MethodGet { // an upgrade that no other transport wanted
		x.refuse(http.StatusBadRequest, errs.New(errs.BadUserInput,
			"This upgrade is not known. Open a websocket with the subprotocol graphql-transport-ws."))
		return
	}
	x.refuse(http.StatusMethodNotAllowed, errs.New(errs.BadUserInput, "GraphQL is served by GET and POST."))
}

// validHeader says whether s may become a file name or type that others store.
func validHeader(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
