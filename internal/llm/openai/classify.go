package openai

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"

	"cdsa.dev/cdsa/internal/llm"
)

// classify turns the SDK's error into ours, keeping no text of it but a well-formed error code.
func classify(err error) *llm.Error {
	if errors.Is(err, errRedirect) {
		return fail(llm.KindRefused)
	}
	var api *sdk.Error
	if errors.As(err, &api) {
		f := byStatus(api.StatusCode, api.Code, api.Type, api.Message)
		f.Status = api.StatusCode
		f.Code = code(api.Code)
		if api.Response != nil {
			f.RetryAfter = retryAfter(api.Response.Header)
		}
		return f
	}
	var broken *ssestream.StreamError
	if errors.As(err, &broken) {
		var body struct {
			Error struct {
				Message string          `json:"message"`
				Type    string          `json:"type"`
				Code    json.RawMessage `json:"code"` // a string, a number or null, by server
			} `json:"error"`
		}
		f := fail(llm.KindUnavailable)
		if json.Unmarshal(broken.Event.Data, &body) == nil {
			c := strings.Trim(string(body.Error.Code), `"`)
			status, convErr := strconv.Atoi(c)
			if convErr != nil {
				status = http.StatusServiceUnavailable
			}
			f = byStatus(status, c, body.Error.Type, body.Error.Message)
			f.Code = code(c)
		}
		return f
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fail(llm.KindProtocol)
	}
	return fail(llm.KindUnavailable)
}

func byStatus(status int, code, kind, message string) *llm.Error {
	switch {
	case tooLong(status, code, message):
		return fail(llm.KindContextLength)
	case code == "insufficient_quota":
		return fail(llm.KindRefused)
	case status == http.StatusTooManyRequests || code == "rate_limit_exceeded" || kind == "rate_limit_error":
		return fail(llm.KindRateLimited)
	case status == http.StatusUnauthorized || status == http.StatusForbidden || code == "invalid_api_key":
		return fail(llm.KindAuth)
	case status == http.StatusRequestTimeout || status == http.StatusGatewayTimeout:
		return fail(llm.KindTimeout)
	case status >= 500 || status == http.StatusConflict || status == http.StatusTooEarly:
		return fail(llm.KindUnavailable)
	}
	return fail(llm.KindRefused)
}

// tooLong: OpenAI has a code for it; compatible servers only say it in words.
func tooLong(status int, code, message string) bool {
	if code == "context_length_exceeded" || status == http.StatusRequestEntityTooLarge {
		return true
	}
	if status != http.StatusBadRequest {
		return false
	}
	m := strings.ToLower(message)
	return strings.Contains(m, "context length") || strings.Contains(m, "context window") || strings.Contains(m, "context size") ||
		strings.Contains(m, "maximum context") || strings.Contains(m, "too many tokens")
}

var codeForm = regexp.MustCompile(`^[a-z][a-z0-9_]{1,39}$`)

func code(s string) string {
	if codeForm.MatchString(s) && !strings.HasPrefix(s, "sk_") {
		return s
	}
	return ""
}

func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.Atoi(h.Get("Retry-After-Ms")); err == nil && ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	if s, err := strconv.Atoi(h.Get("Retry-After")); err == nil && s > 0 {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
