package openai

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"strings"

	sdk "github.com/openai/openai-go/v3"

	"cdsa.dev/cdsa/internal/llm"
)

// calls gathers the fragments in which tool calls arrive.
type calls struct {
	list  []*partial
	bytes int
}

type partial struct {
	index    int64
	id, name string
	args     strings.Builder
	text     unescaper
}

// add takes a fragment; false when the answer goes beyond the bounds.
func (c *calls) add(d sdk.ChatCompletionChunkChoiceDeltaToolCall) bool {
	var p *partial
	for _, o := range c.list {
		// Some servers give every call the index 0 and tell them apart by id alone.
		if o.index == d.Index && (d.ID == "" || o.id == "" || o.id == d.ID) {
			p = o
		}
	}
	if p == nil {
		if len(c.list) == maxToolCalls {
			return false
		}
		p = &partial{index: d.Index}
		c.list = append(c.list, p)
	}
	if d.ID != "" {
		p.id = d.ID
	}
	if p.name == "" {
		p.name = d.Function.Name
	}
	args := p.text.next(d.Function.Arguments, d.Function.JSON.Arguments.Raw())
	c.bytes += len(args) + len(d.Function.Name) + len(d.ID)
	p.args.WriteString(args)
	return c.bytes <= maxArgumentBytes
}

// complete gives the calls in the order they began. One without an id gets one; one whose arguments are no JSON
// object is marked, so that the model can be told.
func (c *calls) complete() []llm.ToolCall {
	out := make([]llm.ToolCall, 0, len(c.list))
	for _, p := range c.list {
		p.args.WriteString(p.text.flush())
		t := llm.ToolCall{ID: p.id, Name: p.name}
		if t.ID == "" {
			t.ID = "call_" + rand.Text()
		}
		var err error
		if t.Arguments, err = object(p.args.String()); err != nil {
			t.Arguments = map[string]any{}
			t.Invalid = "The arguments were not a JSON object. Call the tool again with a JSON object that fits its schema."
		}
		out = append(out, t)
	}
	return out
}

// object reads a JSON object; a call of a tool without parameters may come with no text at all.
func object(s string) (map[string]any, error) {
	if strings.TrimSpace(s) == "" {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, errors.New("not a JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || m == nil {
		return nil, errors.New("not one JSON object")
	}
	return m, nil
}
