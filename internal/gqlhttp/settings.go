// Package gqlhttp serves GraphQL over HTTP: POST, GET and multipart uploads to the letter of the GraphQL over HTTP
// draft. Package document, below it, bounds what a document may be; package present renders errors.
//
// A request is refused before it is paid for: size, encoding and envelope come before parsing. A refusal is out within
// two seconds whatever was sent, never echoes the body and always carries a code. It opens no websocket and no event
// stream (package realtime) and decides no permission (the directives do), with one exception: uploads need a
// signed-in caller, because they would be stored before a directive is asked.
//
// Everything here is safe for concurrent use. What is wrong with a request as such is BAD_USER_INPUT, what is too large
// RESOURCE_EXHAUSTED, each with its HTTP status.
package gqlhttp

import (
	"log/slog"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"

	"cdsa.dev/cdsa/internal/gqlhttp/document"
	"cdsa.dev/cdsa/internal/gqlhttp/present"
)

// Settings are the limits of the endpoint. A zero limit refuses everything it limits; start from DefaultSettings.
type Settings struct {
	document.Limits

	MaxBody      int64 // bytes of a JSON body
	MaxUpload    int64 // bytes of a multipart body
	MaxFiles     int   // files of one upload
	UploadMemory int64 // bytes of one file kept in memory; a larger one goes to an unlinked temporary file

	// AllowedOrigins may read over GET from a browser besides the server's own origin, as scheme://host[:port].
	AllowedOrigins []string
	// Logger hears of internal errors; nil is slog.Default.
	Logger *slog.Logger
}

// DefaultSettings are the defaults of the API contract. ValidCursor is still to be set.
func DefaultSettings() Settings {
	return Settings{Limits: document.DefaultLimits(), MaxBody: 2 << 20, MaxUpload: 100 << 20, MaxFiles: 10, UploadMemory: 256 << 10}
}

// Server is the endpoint: the executor, to be given its extensions, and the transports in the order they are asked in. It
// does without the copy of each request that gqlgen's own server makes to note when it began; its transports note that.
type Server struct {
	*executor.Executor
	transports []graphql.Transport
}

// NewServer makes an endpoint with the document limits, caches, persisted queries, error presenter and panic handler of
// the settings, for every transport. What first adds sees an operation before it is judged. The transports are others', then multipart, POST, GET and a last one that
// answers 405 to everything left over. It panics without ValidCursor.
func (s Settings) NewServer(schema graphql.ExecutableSchema, first func(*executor.Executor), others ...graphql.Transport) *Server {
	srv := &Server{Executor: executor.New(schema)}
	if first != nil {
		first(srv.Executor)
	}
	s.Install(srv.Executor, s.Logger)
	e := &endpoint{Settings: s, present: present.Presenter(s.Logger), recover: present.Recover(s.Logger)}
	srv.transports = append(others, multipartForm{e}, post{e}, get{e}, leftOver{e})
	return srv
}

// ServeHTTP hands the request to the first transport that takes it; the last one does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, t := range s.transports {
		if t.Supports(r) {
			t.Do(w, r, s.Executor)
			return
		}
	}
}
