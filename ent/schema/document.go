package schema

import (
	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// Document is a source the assistant answers from.
type Document struct{ ent.Schema }

// Mixin of Document.
func (Document) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.Document}, Mutable{}} }

// Fields of Document.
func (Document) Fields() []ent.Field {
	return []ent.Field{
		field.String("title").SchemaType(textType()).Annotations(entgql.OrderField("TITLE")).Comment("Title as shown in lists and citations."),
		field.String("source").Default("").SchemaType(textType()).Annotations(guarded()).Comment("File name or address it came from; empty when unknown."),
		field.Enum("source_type").GoType(enum.DocumentSourceType("")).SchemaType(textType()).Annotations(gql("DocumentSourceType")).Comment("Where it came from."),
		field.String("content").Optional().Nillable().SchemaType(textType()).Annotations(guarded(), readersOnly(), weighs(200)).Comment("Extracted text; citation offsets count its Unicode code points. Null until it is extracted."),
		field.Bytes("original").Optional().Annotations(hidden()).Comment("The bytes as uploaded."),
		field.String("content_hash").SchemaType(textType()).Annotations(guarded(), readersOnly()).Comment("SHA-256 (hex) of the bytes, unique for an owner."),
		jsonField("metadata", "Free-form facts about the document."),
		textArray("tags", "Labels."),
		field.String("file_type").Default("").SchemaType(textType()).Comment("Media type; empty when unknown."),
		field.Int64("file_size").Default(0).Annotations(gql("Float"), guarded()).Comment("Size of the bytes, in bytes."),
		field.Bool("is_processed").Default(false).Comment("Whether processing ended, well or not."),
		field.Bool("is_indexed").Default(false).Comment("Whether it can be searched."),
		field.String("processing_error").Optional().Nillable().SchemaType(textType()).Annotations(guarded()).Comment("Why it cannot be searched, as a sentence; null unless it FAILED."),
		ref("uploaded_by", "uploadedBy", "Who uploaded and owns it.").fixed(),
		field.Bool("is_public").Default(false).Comment("Whether everyone signed in may read it."),
		field.String("required_permission").Optional().Nillable().SchemaType(textType()).Comment("Opens it to holders of the permission besides the owner."),
		field.Time("last_accessed").Optional().Nillable().Comment("When it was last read, to the minute; null when it never was."),
		field.Enum("status").GoType(enum.DocumentStatus("")).Default(string(enum.DocumentStatusUploaded)).SchemaType(textType()).Annotations(gql("DocumentStatus")).Comment("How far it has been processed."),
		field.Enum("sensitivity").GoType(enum.Sensitivity("")).Default(string(enum.SensitivityInternal)).SchemaType(textType()).Annotations(gql("Sensitivity")).Comment("How confidential it is."),
		field.String("language").Default("").SchemaType(textType()).Comment("ISO 639-1 code; empty when unknown."),
		field.Int("page_count").Optional().Nillable().Annotations(guarded()).Comment("Pages; null where the format has none."),
		field.Int("generation").Default(0).Annotations(guarded()).Comment("Rises each time it is processed; chunks of other generations are not searched."),
		field.Time("lease_expires_at").Optional().Nillable().Annotations(hidden()).Comment("Until when a worker holds the processing."),
	}
}

// Edges of Document.
func (Document) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("uploader", User.Type).Ref("documents").Field("uploaded_by").Unique().Required().Immutable().Comment("Who uploaded it."),
		edge.To("chunks", DocumentChunk.Type).Annotations(many(cascade)...).Comment("Passages, in order."),
	}
}

// Indexes of Document.
func (Document) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("uploaded_by", "content_hash").Unique(), index.Fields("uploaded_by", "created_at"), index.Fields("status"), index.Fields("created_at"),
		index.Fields("is_public"), index.Fields("required_permission"),
		index.Fields("tags").Annotations(entsql.IndexType("GIN")),
		index.Fields("title").Annotations(entsql.IndexType("GIN"), entsql.OpClass("gin_trgm_ops")),
	}
}

// Annotations of Document.
func (Document) Annotations() []schema.Annotation { return node() }

// Policy of Document.
func (Document) Policy() ent.Policy { return rule.For("Document") }
