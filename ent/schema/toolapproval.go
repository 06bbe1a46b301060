package schema

import (
	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/decision"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// ToolApproval asks people to allow one tool call with exactly the arguments shown.
type ToolApproval struct{ ent.Schema }

// Mixin of ToolApproval.
func (ToolApproval) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.ToolApproval}, Mutable{}} }

// Fields of ToolApproval.
func (ToolApproval) Fields() []ent.Field {
	return []ent.Field{
		ref("execution_id", "executionId", "The call.").fixed().unique(),
		ref("user_id", "userId", "Who asked.").fixed(),
		field.Bool("is_approved").Optional().Nillable().Comment("Roll-up: null while open, then the outcome."),
		ref("approver_id", "approverId", "Whose decision settled the request.").opt(),
		field.String("approval_comment").Optional().Nillable().SchemaType(textType()).Annotations(guarded()).Comment("Comment of the approval that settled it."),
		field.String("rejection_reason").Optional().Nillable().SchemaType(textType()).Annotations(guarded()).Comment("Reason of the rejection."),
		jsonField("risk_assessment", "What made the request necessary."),
		field.Bool("requires_elevated_approval").Default(false).Immutable().Comment("Whether one approver must hold approvals:decide_elevated."),
		field.Time("requested_at").Default(now).Immutable().Annotations(entgql.OrderField("REQUESTED_AT")).Comment("When it was asked."),
		field.Time("responded_at").Optional().Nillable().Comment("When it was settled."),
		field.Time("expires_at").Immutable().Annotations(entgql.OrderField("EXPIRES_AT")).Comment("When the request lapses."),
		field.Int("required_approvals").Default(1).Immutable().Comment("Distinct approvers needed."),
		field.JSON("decisions", []decision.Decision{}).Optional().Annotations(hidden()).Comment("Who decided what, when, and with what second factor."),
		field.String("args_hash").Immutable().SchemaType(textType()).Annotations(guarded()).Comment("The hash an approver must name; see ToolExecution."),
		field.String("policy_version").Immutable().SchemaType(textType()).Comment("The policy the gate was chosen by."),
		field.Time("use_by").Optional().Nillable().Comment("The grant must start before this time."),
		field.Time("consumed_at").Optional().Nillable().Comment("When the grant was used, once."),
		field.Time("withdrawn_at").Optional().Nillable().Comment("When the requester withdrew."),
		field.String("justification").Optional().Nillable().SchemaType(textType()).Annotations(guarded()).Comment("Why the requester needs it."),
	}
}

// Edges of ToolApproval.
func (ToolApproval) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("execution", ToolExecution.Type).Ref("approval").Field("execution_id").Unique().Required().Immutable().Comment("The call."),
		edge.From("user", User.Type).Ref("tool_approvals").Field("user_id").Unique().Required().Immutable().Comment("Who asked."),
		edge.From("approver", User.Type).Ref("decided_approvals").Field("approver_id").Unique().Comment("Whose decision settled it."),
	}
}

// Indexes of ToolApproval.
func (ToolApproval) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("user_id", "requested_at"), index.Fields("approver_id"), index.Fields("requested_at"), index.Fields("created_at"),
		index.Fields("expires_at").Annotations(entsql.IndexWhere("responded_at IS NULL AND withdrawn_at IS NULL")),
		index.Fields("use_by").Annotations(entsql.IndexWhere("is_approved AND consumed_at IS NULL")),
	}
}

// Annotations of ToolApproval.
func (ToolApproval) Annotations() []schema.Annotation { return node() }

// Policy of ToolApproval.
func (ToolApproval) Policy() ent.Policy { return rule.For("ToolApproval") }
