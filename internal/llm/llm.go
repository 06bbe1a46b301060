// Package llm is the one interface through which the server talks to language models, and the forms both sides of
// it share: requests, streamed chunks, tool calls, what a model gets to see of a tool's result, and typed errors.
// One folder holds one provider; package provider builds a Registry from the configuration.
//
// It refuses to store anything, to call tools, to know ent or GraphQL, and to put a key, a prompt or a provider's
// own words into an error. Models and Registry are safe for concurrent use; one Stream's sequence is for one goroutine.
package llm

import (
	"context"
	"fmt"
	"iter"

	"cdsa.dev/cdsa/internal/enum"
)

// Model streams answers.
type Model interface {
	// Name is what a chat session calls the model; unique within a Registry.
	Name() string
	// Provider is the adapter's name, such as "openai" or "offline".
	Provider() string
	// Stream asks for one answer. Ranging over the sequence sends the request; each range is a request of its own.
	// It yields text as it arrives, then each tool call whole, then exactly one Finish as the last chunk. On failure it
	// yields one error instead of the Finish and ends: an *Error, unless the Request itself is unusable. An ended ctx
	// comes as an *Error that wraps ctx.Err(). Leaving the loop early, like ending ctx, stops the upstream request.
	Stream(ctx context.Context, r Request) iter.Seq2[Chunk, error]
}

// Request is one call of a model. It is not changed by the call.
type Request struct {
	Model       string // the provider's own id of the model; empty: the one the Model was configured with
	System      string // instructions, placed before every message
	Messages    []Message
	Tools       []ToolSpec // what the model may call; empty: nothing
	Temperature *float64   // 0..2; nil: the provider's default
	MaxTokens   int        // of the answer; 0: the provider's default
}

// Message is one entry of the conversation as the model sees it.
type Message struct {
	Role       enum.MessageRole `json:"role"`
	Content    string           `json:"content,omitempty"`
	ToolCalls  []ToolCall       `json:"toolCalls,omitempty"`  // ASSISTANT only
	ToolCallID string           `json:"toolCallId,omitempty"` // TOOL only: the call this answers
}

// ToolCall is a model's wish to call a tool.
type ToolCall struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Arguments map[string]any `json:"arguments"` // never nil when it comes from a Model
	// Invalid is set, with empty Arguments, when what the model wrote is no JSON object: a sentence to feed back to it.
	Invalid string `json:"invalid,omitempty"`
}

// Err is a KindToolArguments *Error when the call's arguments could not be read, else nil.
func (c ToolCall) Err() error {
	if c.Invalid == "" {
		return nil
	}
	return &Error{Kind: KindToolArguments, Tool: c.Name}
}

// ToolSpec offers a tool to the model.
type ToolSpec struct {
	Name        string
	Description string
	Schema      map[string]any // JSON Schema of the arguments: an object
}

// Chunk is one piece of a streamed answer: exactly one of its fields is set.
type Chunk struct {
	Text     string // valid UTF-8, never cut inside a code point
	ToolCall *ToolCall
	Finish   *Finish
}

// FinishReason says why an answer ended.
type FinishReason string

// The values of FinishReason.
const (
	FinishStop          FinishReason = "stop"
	FinishToolCalls     FinishReason = "tool_calls"
	FinishLength        FinishReason = "length"
	FinishContentFilter FinishReason = "content_filter"
)

// Finish ends an answer. Token counts are the provider's, or 0 where it does not say.
type Finish struct {
	Reason       FinishReason
	InputTokens  int
	OutputTokens int
}

// Answer is a whole answer, joined.
type Answer struct {
	Text      string
	ToolCalls []ToolCall
	Finish    Finish
}

// Collect joins a stream. It returns what had arrived together with the stream's error.
func Collect(stream iter.Seq2[Chunk, error]) (Answer, error) {
	var a Answer
	for c, err := range stream {
		if err != nil {
			return a, err
		}
		a.Text += c.Text
		if c.ToolCall != nil {
			a.ToolCalls = append(a.ToolCalls, *c.ToolCall)
		}
		if c.Finish != nil {
			a.Finish = *c.Finish
			return a, nil
		}
	}
	return a, fmt.Errorf("llm: the stream ended without a finish")
}
