package tool

import (
	"container/list"
	"sync"

	"github.com/google/uuid"
)

// SchemaCache keeps compiled schemas of tools, the least recently used dropped first. A tool's version rises with its
// schema, so an entry never goes stale.
type SchemaCache struct {
	mu    sync.Mutex
	max   int
	order *list.List // of *cached, most recent first
	byKey map[schemaKey]*list.Element
}

type schemaKey struct {
	tool    uuid.UUID
	version int
	output  bool
}

type cached struct {
	key schemaKey
	s   *Schema
}

// NewSchemaCache makes a cache of at most limit schemas; a compiled one takes some 10-100 KiB.
func NewSchemaCache(limit int) *SchemaCache {
	return &SchemaCache{max: max(limit, 1), order: list.New(), byKey: map[schemaKey]*list.Element{}}
}

// Parameters gives the compiled schema of a tool's parameters; errors as for Compile, and they are not cached.
func (c *SchemaCache) Parameters(toolID uuid.UUID, version int, schema map[string]any) (*Schema, error) {
	return c.load(schemaKey{toolID, version, false}, schema, Compile)
}

// Output gives the compiled schema of a tool's result; an absent one lets any result pass.
func (c *SchemaCache) Output(toolID uuid.UUID, version int, schema map[string]any) (*Schema, error) {
	return c.load(schemaKey{toolID, version, true}, schema, CompileOutput)
}

// load compiles outside the lock: two callers may compile the same schema, neither waits for the other.
func (c *SchemaCache) load(k schemaKey, schema map[string]any, compile func(map[string]any) (*Schema, error)) (*Schema, error) {
	c.mu.Lock()
	if e, ok := c.byKey[k]; ok {
		c.order.MoveToFront(e)
		s := e.Value.(*cached).s
		c.mu.Unlock()
		return s, nil
	}
	c.mu.Unlock()
	s, err := compile(schema)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[k]; ok {
		return e.Value.(*cached).s, nil
	}
	c.byKey[k] = c.order.PushFront(&cached{k, s})
	for c.order.Len() > c.max {
		last := c.order.Remove(c.order.Back()).(*cached)
		delete(c.byKey, last.key)
	}
	return s, nil
}
