package offline

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"cdsa.dev/cdsa/internal/llm"
)

// step is a tool call the message asks for.
type step struct {
	tool string
	args map[string]any
}

func (s step) same(c llm.ToolCall) bool {
	return c.Name == s.tool && reflect.DeepEqual(normal(c.Arguments), normal(s.args))
}

// normal makes arguments that went through JSON comparable with those that did not.
func normal(m map[string]any) any {
	b, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	var v any
	if json.Unmarshal(b, &v) != nil {
		return nil
	}
	return v
}

const (
	toolSearch     = "search_documents"
	toolCalculator = "calculator"
	toolTime       = "current_time"
	toolHTTP       = "http_request"

	searchLimit   = 6
	maxQueryRunes = 500
	maxSteps      = 8    // of one message
	maxCutBytes   = 2000 // plain requests are looked for here: a longer text is one to search with
)

// command finds /name at the beginning of the message or after white space.
var command = regexp.MustCompile(`(?:^|\s)/([a-z][a-z0-9_]{1,63})(?:\s+|$|[.,;!?](?:\s|$))`)

// plan reads what a message asks for, offered or not: commands with a slash, plain requests for the built-in tools, and a search for
// every other piece of text, in the order they stand. Notes are sentences about what could not be read.
func plan(text string, tools []llm.ToolSpec) (steps []step, notes []string) {
	p := planner{tools: map[string]llm.ToolSpec{}}
	for _, t := range tools {
		p.tools[t.Name] = t
	}
	rest := text
	for rest != "" && len(p.steps) <= maxSteps {
		loc := p.nextCommand(rest)
		if loc == nil {
			break
		}
		p.prose(beforeCommand.ReplaceAllString(rest[:loc[0]], ""))
		rest = p.command(rest[loc[2]:loc[3]], rest[loc[1]:])
	}
	p.prose(rest)
	if len(p.steps) > maxSteps {
		p.steps = p.steps[:maxSteps]
		p.note("I take at most %d steps for one message and left out the rest.", maxSteps)
	}
	return p.steps, p.notes
}

type planner struct {
	tools map[string]llm.ToolSpec
	steps []step
	notes []string
}

func (p *planner) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(p.notes, s) {
		p.notes = append(p.notes, s)
	}
}

func (p *planner) add(tool string, args map[string]any) { p.steps = append(p.steps, step{tool, args}) }

// nextCommand skips what only looks like a command, such as a file's path.
func (p *planner) nextCommand(s string) []int {
	for _, loc := range command.FindAllStringSubmatchIndex(s, -1) {
		_, known := p.tools[s[loc[2]:loc[3]]]
		if known || strings.HasPrefix(s[loc[1]:], "{") || strings.TrimSpace(s[:loc[0]]) == "" {
			return loc
		}
	}
	return nil
}

// command reads the arguments of a named tool from the beginning of rest and gives back what follows them.
func (p *planner) command(name, rest string) string {
	if strings.HasPrefix(rest, "{") {
		d := json.NewDecoder(strings.NewReader(rest))
		var args map[string]any
		if d.Decode(&args) != nil {
			p.note("What follows /%s is not a JSON object, so I did not call the tool.", name)
			return ""
		}
		p.add(name, args)
		return rest[d.InputOffset():]
	}
	line, after, _ := strings.Cut(rest, "\n")
	line = strings.TrimSpace(line)
	switch only := p.onlyParameter(name); {
	case name == toolHTTP && line != "":
		p.add(name, map[string]any{"method": "GET", "url": line})
	case only != "" && line != "":
		p.add(name, map[string]any{only: line})
	case line == "":
		p.add(name, map[string]any{})
	default:
		p.note(`The tool %s takes its arguments as a JSON object: /%s {"name": "value"}.`, name, name)
	}
	return after
}

// onlyParameter is the text parameter that plain words after a command must mean: the one required, or the only one.
func (p *planner) onlyParameter(tool string) string {
	schema := p.tools[tool].Schema
	props, _ := schema["properties"].(map[string]any)
	var names []string
	switch req := schema["required"].(type) {
	case []any:
		for _, n := range req {
			if s, ok := n.(string); ok {
				names = append(names, s)
			}
		}
	case []string:
		names = req
	}
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(props))
	}
	if len(names) != 1 {
		return ""
	}
	if prop, ok := props[names[0]].(map[string]any); !ok || prop["type"] != "string" {
		return ""
	}
	return names[0]
}

// link is what may stand between two requests of one message.
var link = regexp.MustCompile(`(?i)(?:[.?!;,]\s*|\s+)(?:(?:and|then|also|afterwards|after that|und|dann)[\s,:]+)+`)

// prose reads text that is no command: plain requests where it has them, a search for the rest. It is only cut at a
// word such as "then" where a plain request stands on one side, so that "what happens then to the records" stays whole.
func (p *planner) prose(s string) {
	s = trim(s)
	if s == "" {
		return
	}
	if st, ok := plain(s); ok && len(s) <= maxCutBytes {
		p.add(st.tool, st.args)
		return
	}
	for _, loc := range link.FindAllStringIndex(s[:min(len(s), maxCutBytes)], -1) {
		before, after := trim(s[:loc[0]]), trim(s[loc[1]:])
		if len(after) > maxCutBytes {
			continue
		}
		_, first := plain(before)
		_, second := plain(after)
		if before != "" && after != "" && (first || second) {
			p.prose(before)
			p.prose(after)
			return
		}
	}
	if greeting(s) || !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
		return
	}
	if r := []rune(s); len(r) > maxQueryRunes {
		s = strings.TrimSpace(string(r[:maxQueryRunes]))
	}
	p.add(toolSearch, map[string]any{"query": s, "limit": float64(searchLimit)})
}

var (
	leading       = regexp.MustCompile(`(?i)^(?:(?:and|then|also|now|next|please|afterwards|after that|und|dann|bitte)\b[\s,:]*|[\s.,;:!?-]+)+`)
	trailing      = regexp.MustCompile(`(?i)(?:\s*[.,;:]+|\s+|\s*\b(?:and|then|also|please|afterwards|und|dann))$`)
	beforeCommand = regexp.MustCompile(`(?i)(?:^|\s)(?:run|call|use|try|do)\s*:?\s*$`)
)

// trim takes off the words that only join two requests, and keeps a question mark.
func trim(s string) string {
	s = leading.ReplaceAllString(strings.TrimSpace(s), "")
	for {
		t := trailing.ReplaceAllString(s, "")
		if t == s {
			return s
		}
		s = t
	}
}

func greeting(s string) bool {
	s = strings.ToLower(strings.Trim(s, " .!?,"))
	return slices.Contains([]string{"hello", "hi", "hey", "hello there", "good morning", "good evening", "thanks", "thank you", "help", "hallo", "danke"}, s)
}
