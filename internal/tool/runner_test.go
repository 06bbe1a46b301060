package tool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cdsa.dev/cdsa/internal/enum"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type echoIn struct {
	Text  string `json:"text"`
	Times int    `json:"times"`
}

type echoOut struct {
	Text string `json:"text"`
}

func echoDefinition() Definition {
	return Definition{
		Name: "echo", DisplayName: "Echo", Description: "Says it again.", Category: enum.ToolCategoryDataAnalysis, RiskLevel: enum.RiskLevelLow,
		Schema: obj{"type": "object", "required": []any{"text"}, "properties": obj{
			"text": obj{"type": "string"}, "times": obj{"type": "integer", "minimum": 1, "maximum": 1_000_000}}},
		OutputSchema: obj{"type": "object", "required": []any{"text"}, "properties": obj{"text": obj{"type": "string", "maxLength": 900_000}}},
		Hints:        Hints{ReadOnly: true, Idempotent: true}, TimeoutSeconds: 30, MaxConcurrent: 1, Pure: true,
	}
}

// runner makes a Runner of one tool and the log it writes.
func runner(t *testing.T, run func(context.Context, Call) (Result, error)) (*Runner, *bytes.Buffer) {
	t.Helper()
	r, err := NewRegistry(Builtin{echoDefinition(), ExecutorFunc(run)})
	require.NoError(t, err)
	var log bytes.Buffer
	return NewRunner(r, slog.New(slog.NewTextHandler(&log, nil))), &log
}

func call(params obj) Call {
	return Call{ExecutionID: uuid.New(), UserID: uuid.New(), Tool: "echo", Version: 1, Parameters: params}
}

func TestRunner_Run(t *testing.T) {
	typed, err := Typed(echoDefinition(), func(_ context.Context, _ Call, in echoIn) (echoOut, enum.Sensitivity, error) {
		return echoOut{strings.Repeat(in.Text, max(in.Times, 1))}, enum.SensitivityInternal, nil
	})
	require.NoError(t, err)
	reg, err := NewRegistry(typed)
	require.NoError(t, err)
	r := NewRunner(reg, slog.New(slog.DiscardHandler))

	t.Run("OK", func(t *testing.T) {
		res, err := r.Run(t.Context(), call(obj{"text": "<é>", "times": 2}))
		require.NoError(t, err)
		require.Equal(t, Result{obj{"text": "<é><é>"}, enum.SensitivityInternal}, res)
	})
	t.Run("InvalidParameters", func(t *testing.T) {
		_, err := r.Run(t.Context(), call(obj{"txt": "a"}))
		requireCode(t, err, enum.ToolErrorCodeToolError)
		_, err = r.Run(t.Context(), call(obj{"text": "a"}))
		require.NoError(t, err, "the slot came back")
	})
	t.Run("ResultTooLarge", func(t *testing.T) {
		_, err := r.Run(t.Context(), call(obj{"text": "x", "times": MaxResult}))
		requireCode(t, err, enum.ToolErrorCodeInvalidResult)
	})
	t.Run("NULInResult", func(t *testing.T) {
		r, _ := runner(t, func(context.Context, Call) (Result, error) { return Result{Value: obj{"text": "\x00"}}, nil })
		_, err := r.Run(t.Context(), call(obj{"text": "a"}))
		requireCode(t, err, enum.ToolErrorCodeInvalidResult)
	})
	t.Run("UnknownTool", func(t *testing.T) {
		_, err := r.Run(t.Context(), Call{Tool: "none"})
		requireCode(t, err, enum.ToolErrorCodeToolError)
	})
}

func requireCode(t *testing.T, err error, code enum.ToolErrorCode) *Error {
	t.Helper()
	e, ok := AsError(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code, e.Code)
	require.True(t, strings.HasSuffix(e.Message, "."), e.Message)
	return e
}

func TestRunner_Outcomes(t *testing.T) {
	cause := errors.New("dial tcp: secret-host refused")
	for name, c := range map[string]struct {
		res  Result
		err  error
		code enum.ToolErrorCode
	}{
		"OwnError":       {err: fmt.Errorf("wrapped: %w", Fail("It cannot be done.")), code: enum.ToolErrorCodeToolError},
		"Dependency":     {err: Unavailable(cause, "The service did not answer."), code: enum.ToolErrorCodeDependencyUnavailable},
		"UnknownError":   {err: cause, code: enum.ToolErrorCodeToolError},
		"NotJSON":        {res: Result{Value: func() {}}, code: enum.ToolErrorCodeInvalidResult},
		"Infinite":       {res: Result{Value: obj{"text": math.Inf(1)}}, code: enum.ToolErrorCodeInvalidResult},
		"TooPrecise":     {res: Result{Value: obj{"text": uint64(math.MaxUint64)}}, code: enum.ToolErrorCodeInvalidResult},
		"WrongShape":     {res: Result{Value: obj{"texts": "x"}}, code: enum.ToolErrorCodeInvalidResult},
		"NothingAtAll":   {code: enum.ToolErrorCodeInvalidResult},
		"ManyValues":     {res: Result{Value: obj{"text": "x", "more": make([]int, MaxValues)}}, code: enum.ToolErrorCodeInvalidResult},
		"UnsaidIsSecret": {res: Result{Value: obj{"text": "x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := runner(t, func(context.Context, Call) (Result, error) { return c.res, c.err })
			res, err := r.Run(t.Context(), call(obj{"text": "a"}))
			if c.code == "" {
				require.NoError(t, err)
				require.Equal(t, enum.SensitivityRestricted, res.Sensitivity)
				return
			}
			e := requireCode(t, err, c.code)
			require.NotContains(t, e.Message, "secret-host")
			require.Zero(t, res)
		})
	}
}

func TestRunner_Panic(t *testing.T) {
	r, log := runner(t, func(context.Context, Call) (Result, error) { panic("canary-91c2") })
	_, err := r.Run(t.Context(), call(obj{"text": "canary-91c2"}))
	requireCode(t, err, enum.ToolErrorCodeToolError)
	require.Contains(t, log.String(), "tool panicked")
	require.NotContains(t, log.String()+err.Error(), "canary-91c2")
	_, err = r.Run(t.Context(), call(obj{"text": "a"}))
	requireCode(t, err, enum.ToolErrorCodeToolError)
}

func TestRunner_Time(t *testing.T) {
	t.Run("Timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _ := runner(t, func(ctx context.Context, _ Call) (Result, error) { <-ctx.Done(); return Result{}, ctx.Err() })
			start := time.Now()
			_, err := r.Run(t.Context(), call(obj{"text": "a"}))
			requireCode(t, err, enum.ToolErrorCodeTimeout)
			require.Equal(t, 30*time.Second, time.Since(start))
			synctest.Wait()
			c := call(obj{"text": "a"})
			c.Timeout = time.Second
			_, err = r.Run(t.Context(), c)
			requireCode(t, err, enum.ToolErrorCodeTimeout)
			require.Equal(t, 31*time.Second, time.Since(start))
		})
	})
	t.Run("LeftBehind", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			stubborn := make(chan struct{})
			r, _ := runner(t, func(context.Context, Call) (Result, error) {
				<-stubborn
				return Result{Value: obj{"text": "late"}}, nil
			})
			_, err := r.Run(t.Context(), call(obj{"text": "a"}))
			requireCode(t, err, enum.ToolErrorCodeTimeout)
			_, ok := r.Reserve("echo")
			require.False(t, ok, "it still holds its slot")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.ErrorIs(t, r.Close(ctx), context.DeadlineExceeded)
			close(stubborn)
			require.NoError(t, r.Close(t.Context()))
			s, ok := r.Reserve("echo")
			require.True(t, ok)
			s.Release()
		})
	})
	t.Run("Cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _ := runner(t, func(ctx context.Context, _ Call) (Result, error) {
				<-ctx.Done()
				return Result{}, Unavailable(ctx.Err(), "The service did not answer.")
			})
			why := errors.New("cancelled by requester")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(why) })
			_, err := r.Run(ctx, call(obj{"text": "a"}))
			require.ErrorIs(t, err, why)
			_, isToolError := AsError(err)
			require.False(t, isToolError)
			require.NoError(t, r.Close(t.Context()))
		})
	})
}

func TestRunner_Slots(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{})
	r, _ := runner(t, func(context.Context, Call) (Result, error) {
		started <- struct{}{}
		<-release
		return Result{Value: obj{"text": "x"}, Sensitivity: enum.SensitivityPublic}, nil
	})
	s, ok := r.Reserve("echo")
	require.True(t, ok)
	done := make(chan error, 1)
	go func() { _, err := s.Run(context.Background(), call(obj{"text": "a"})); done <- err }()
	<-started
	s.Release() // after Run: nothing
	_, err := r.Run(t.Context(), call(obj{"text": "a"}))
	requireCode(t, err, enum.ToolErrorCodeDependencyUnavailable)
	close(release)
	require.NoError(t, <-done)
	require.NoError(t, r.Close(t.Context()))
	_, err = s.Run(t.Context(), call(obj{"text": "a"}))
	require.ErrorContains(t, err, "twice")

	other, ok := r.Reserve("echo")
	require.True(t, ok)
	_, err = other.Run(t.Context(), Call{Tool: "elsewhere"})
	require.Error(t, err)
	last, ok := r.Reserve("echo")
	require.True(t, ok, "the misused slot came back")
	last.Release()
	last.Release()
	_, ok = r.Reserve("nothing")
	require.False(t, ok)
}

func TestRegistry(t *testing.T) {
	run := ExecutorFunc(func(context.Context, Call) (Result, error) { return Result{}, nil })
	ok := echoDefinition()
	with := func(f func(*Definition)) Builtin {
		d := echoDefinition()
		f(&d)
		return Builtin{d, run}
	}
	r, err := NewRegistry(with(func(d *Definition) { d.Name = "zulu" }), Builtin{ok, run})
	require.NoError(t, err)
	require.Equal(t, []string{"echo", "zulu"}, []string{r.All()[0].Name, r.All()[1].Name})
	_, found := r.Lookup("echo")
	require.True(t, found)
	_, found = r.Lookup("Echo")
	require.False(t, found)
	s, found := r.Parameters("echo")
	require.True(t, found)
	require.NoError(t, s.Validate(obj{"text": "x"}))

	for name, b := range map[string]Builtin{
		"Name":        with(func(d *Definition) { d.Name = "Echo-1" }),
		"Description": with(func(d *Definition) { d.Description = "" }),
		"Risk":        with(func(d *Definition) { d.RiskLevel = "NONE" }),
		"Category":    with(func(d *Definition) { d.Category = "" }),
		"Timeout":     with(func(d *Definition) { d.TimeoutSeconds = 0 }),
		"LongTimeout": with(func(d *Definition) { d.TimeoutSeconds = 3600 }),
		"Concurrency": with(func(d *Definition) { d.MaxConcurrent = 0 }),
		"Purity":      with(func(d *Definition) { d.Hints.OpenWorld = true }),
		"Schema":      with(func(d *Definition) { d.Schema = obj{"type": "object", "$ref": "https://example.org"} }),
		"Output":      with(func(d *Definition) { d.OutputSchema = obj{"type": "thing"} }),
		"Executor":    {Definition: ok},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewRegistry(b)
			require.Error(t, err)
		})
	}
	_, err = NewRegistry(Builtin{ok, run}, Builtin{ok, run})
	require.ErrorContains(t, err, "twice")
}

func TestTyped_SchemaDrift(t *testing.T) {
	type less struct {
		Text string `json:"text"`
	}
	type other struct {
		Text string `json:"text"`
		Many int    `json:"many"`
	}
	_, err := Typed(echoDefinition(), func(context.Context, Call, less) (echoOut, enum.Sensitivity, error) { return echoOut{}, "", nil })
	require.ErrorContains(t, err, "parameters")
	_, err = Typed(echoDefinition(), func(context.Context, Call, other) (echoOut, enum.Sensitivity, error) { return echoOut{}, "", nil })
	require.ErrorContains(t, err, "many")
	_, err = Typed(echoDefinition(), func(context.Context, Call, echoIn) (echoIn, enum.Sensitivity, error) { return echoIn{}, "", nil })
	require.ErrorContains(t, err, "result")
}

func TestHints(t *testing.T) {
	worst := Hints{Destructive: true, OpenWorld: true}
	require.Equal(t, worst, ParseHints(nil))
	require.Equal(t, worst, ParseHints(obj{"readOnly": "true", "destructive": 0, "openWorld": nil}))
	for _, h := range []Hints{{}, {ReadOnly: true, Idempotent: true}, worst} {
		require.Equal(t, h, ParseHints(h.Map()))
	}
}
