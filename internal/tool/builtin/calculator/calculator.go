// Package calculator is the built-in tool "calculator": arithmetic on an expression, exact wherever the answer is a
// rational number.
//
// Operators by rising strength: + -, * / %, unary + -, ^ (or **; from the right, so -2^2 is -4 and 2^3^2 is 512). % is the remainder with
// the dividend's sign. Functions: sqrt abs min max round floor ceil ln log exp sin cos tan, the angles in radians;
// log is decimal unless it has a base as its second argument, round takes a number of decimals as its second. Constants: pi e.
// It refuses assignment, other names and multiplication without a sign; length, nesting and the size of numbers are bounded, so an
// expression takes milliseconds at most. It keeps no state. Errors are *tool.Error with code TOOL_ERROR; they name the
// place in the expression by its character, from 1.
package calculator

import (
	"context"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool"
)

type input struct {
	Expression string `json:"expression"`
}

// Answer is the value of an expression.
type Answer struct {
	Result string   `json:"result"` // decimal, or a fraction such as 1/3; rounded to 17 digits unless Exact
	Exact  bool     `json:"exact"`
	Value  *float64 `json:"value"` // the nearest double; nil beyond its range
}

// New makes the tool.
func New() (tool.Builtin, error) {
	return tool.Typed(tool.Definition{
		Name:        "calculator",
		DisplayName: "Calculator",
		Description: "Evaluates an arithmetic expression exactly. Operators + - * / % ^ and parentheses; functions sqrt, abs, min, max, round, " +
			"floor, ceil, ln, log, exp, sin, cos, tan (radians); constants pi and e. Example: 2*(3+4)^2.",
		Category:  enum.ToolCategoryDataAnalysis,
		RiskLevel: enum.RiskLevelLow,
		Schema: map[string]any{"type": "object", "required": []any{"expression"}, "additionalProperties": false, "properties": map[string]any{
			"expression": map[string]any{"type": "string", "minLength": 1, "maxLength": maxLength, "description": "The expression, such as (1+2)*3."}}},
		OutputSchema: map[string]any{"type": "object", "required": []any{"result", "exact", "value"}, "additionalProperties": false, "properties": map[string]any{
			"result": map[string]any{"type": "string", "description": "The value as text: a decimal, or a fraction such as 1/3."},
			"exact":  map[string]any{"type": "boolean", "description": "Whether result is the exact value."},
			"value":  map[string]any{"type": []any{"number", "null"}, "description": "The nearest double; null beyond its range."}}},
		Hints:          tool.Hints{ReadOnly: true, Idempotent: true},
		TimeoutSeconds: 5, CacheTTLSeconds: 86_400, Pure: true, MaxConcurrent: 8,
	}, func(_ context.Context, _ tool.Call, in input) (Answer, enum.Sensitivity, error) {
		a, err := Evaluate(in.Expression)
		return a, enum.SensitivityPublic, err
	})
}

// Evaluate gives the value of an expression, or a *tool.Error that says where and why there is none.
func Evaluate(expression string) (Answer, error) {
	v, err := parse(expression)
	if err != nil {
		return Answer{}, err
	}
	return v.answer(), nil
}
