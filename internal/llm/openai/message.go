package openai

import (
	"encoding/json"
	"fmt"

	sdk "github.com/openai/openai-go/v3"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
)

func message(m llm.Message) (sdk.ChatCompletionMessageParamUnion, error) {
	switch m.Role {
	case enum.MessageRoleUser:
		return sdk.UserMessage(m.Content), nil
	case enum.MessageRoleSystem:
		return sdk.SystemMessage(m.Content), nil
	case enum.MessageRoleTool:
		return sdk.ToolMessage(m.Content, m.ToolCallID), nil
	case enum.MessageRoleAssistant:
		return assistant(m)
	}
	return sdk.ChatCompletionMessageParamUnion{}, fmt.Errorf("openai: a message has the role %q", m.Role)
}

func assistant(m llm.Message) (sdk.ChatCompletionMessageParamUnion, error) {
	if len(m.ToolCalls) == 0 {
		return sdk.AssistantMessage(m.Content), nil
	}
	a := &sdk.ChatCompletionAssistantMessageParam{}
	if m.Content != "" {
		a.Content.OfString = sdk.String(m.Content)
	}
	for _, c := range m.ToolCalls {
		args := c.Arguments
		if args == nil {
			args = map[string]any{}
		}
		b, err := json.Marshal(args)
		if err != nil {
			return sdk.ChatCompletionMessageParamUnion{}, fmt.Errorf("openai: the arguments of an earlier call of %s: %w", c.Name, err)
		}
		a.ToolCalls = append(a.ToolCalls, sdk.ChatCompletionMessageToolCallUnionParam{
			OfFunction: &sdk.ChatCompletionMessageFunctionToolCallParam{
				ID:       c.ID,
				Function: sdk.ChatCompletionMessageFunctionToolCallFunctionParam{Name: c.Name, Arguments: string(b)},
			},
		})
	}
	return sdk.ChatCompletionMessageParamUnion{OfAssistant: a}, nil
}
