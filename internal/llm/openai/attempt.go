package openai

import (
	"context"
	"errors"
	"time"

	sdk "github.com/openai/openai-go/v3"

	"cdsa.dev/cdsa/internal/llm"
)

// Bounds on what one answer may make this process hold or pass on.
const (
	maxTextBytes     = 1 << 20
	maxToolCalls     = 64
	maxArgumentBytes = 256 << 10 // the limit of a JSON column
)

var errIdle = errors.New("no chunk in time")

// attempt is one request and its streamed answer.
type attempt struct {
	model   *Model
	yield   func(llm.Chunk, error) bool
	yielded bool // something has been passed on
	stopped bool // the consumer left

	text   unescaper
	bytes  int
	calls  calls
	reason string
	usage  sdk.CompletionUsage
}

// run returns nil when the answer was passed on whole, or the consumer left.
func (a *attempt) run(ctx context.Context, params sdk.ChatCompletionNewParams) *llm.Error {
	cfg := a.model.cfg
	call, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, errIdle)
	defer cancel()
	call, idle := context.WithCancelCause(call)
	defer idle(nil)
	timer := time.AfterFunc(cfg.IdleTimeout, func() { idle(errIdle) })
	defer timer.Stop()

	stream := a.model.completions.NewStreaming(call, params)
	defer func() { _ = stream.Close() }() // the body's read side: nothing is lost by a failure here
	for stream.Next() {
		timer.Stop() // a slow reader of ours is not an idle provider
		if f := a.chunk(stream.Current()); f != nil || a.stopped {
			return f
		}
		timer.Reset(cfg.IdleTimeout)
	}
	timer.Stop()
	if ctx.Err() != nil {
		return llm.Cancelled(ctx, Provider)
	}
	if context.Cause(call) != nil {
		return fail(llm.KindTimeout)
	}
	if err := stream.Err(); err != nil {
		return classify(err)
	}
	return a.finish()
}

func (a *attempt) chunk(c sdk.ChatCompletionChunk) *llm.Error {
	if c.JSON.Usage.Valid() {
		a.usage = c.Usage
	}
	for _, choice := range c.Choices {
		if choice.Index != 0 {
			continue // only one was asked for
		}
		d := choice.Delta
		a.pass(a.text.next(d.Content, d.JSON.Content.Raw()))
		a.pass(d.Refusal)
		if a.bytes > maxTextBytes {
			return fail(llm.KindProtocol)
		}
		for _, t := range d.ToolCalls {
			if !a.calls.add(t) {
				return fail(llm.KindProtocol)
			}
		}
		if choice.FinishReason != "" {
			a.reason = choice.FinishReason
		}
		if a.stopped {
			return nil
		}
	}
	return nil
}

func (a *attempt) pass(text string) {
	if text == "" || a.stopped {
		return
	}
	a.bytes += len(text)
	a.emit(llm.Chunk{Text: text})
}

func (a *attempt) emit(c llm.Chunk) {
	if a.stopped {
		return
	}
	a.yielded = true
	a.stopped = !a.yield(c, nil)
}

// finish passes on what could only be known at the end: tool calls and the reason.
func (a *attempt) finish() *llm.Error {
	if a.reason == "" {
		return fail(llm.KindUnavailable) // broke off between two chunks: no error, no end
	}
	a.pass(a.text.flush())
	tools := a.calls.complete()
	for i := range tools {
		a.emit(llm.Chunk{ToolCall: &tools[i]})
	}
	f := llm.Finish{Reason: llm.FinishStop, InputTokens: int(a.usage.PromptTokens), OutputTokens: int(a.usage.CompletionTokens)}
	switch {
	case a.reason == "length":
		f.Reason = llm.FinishLength
	case a.reason == "content_filter":
		f.Reason = llm.FinishContentFilter
	case len(tools) > 0: // some servers say "stop" here
		f.Reason = llm.FinishToolCalls
	}
	a.emit(llm.Chunk{Finish: &f})
	return nil
}
