package execution

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/toolcache"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool/canonical"
	"cdsa.dev/cdsa/internal/uow"
)

// noteHitsEvery coalesces the counting of hits: at most one write a minute and entry (data model, touch columns).
const noteHitsEvery = time.Minute

// Cached results are stored as {"value": result, "sensitivity": "…"}: a reused result is as confidential as it was.
const (
	cachedValue       = "value"
	cachedSensitivity = "sensitivity"
)

// cacheKey hashes the tool, its version, the arguments and, unless the tool is declared pure, the user and what the
// user's roles give: a result is never reused across rights.
func (s *Service) cacheKey(d *draft) (string, error) {
	whose := map[string]any{}
	if b, ok := s.Tools.Lookup(d.t.Name); !ok || !b.Pure {
		perms := []any{}
		for _, name := range d.p.Permissions() {
			perms = append(perms, name)
		}
		whose = map[string]any{"user": d.p.UserID.String(), "permissions": perms, "superuser": d.p.Superuser}
	}
	b, err := canonical.Marshal(map[string]any{"tool": d.t.ID.String(), "args": d.hash, "whose": whose})
	if err != nil {
		return "", fmt.Errorf("key of a reusable result: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// reusable is a result that may be used again.
type reusable struct {
	entry       uuid.UUID
	value       any
	sensitivity enum.Sensitivity
}

// reuse finds a kept result; nil when there is none, or one that cannot be understood.
func (s *Service) reuse(ctx context.Context, tx *uow.Tx, toolID uuid.UUID, key string) (*reusable, error) {
	e, err := tx.ToolCache.Query().Where(toolcache.ToolID(toolID), toolcache.CacheKey(key), toolcache.ExpiresAtGT(now())).Only(machine(ctx))
	if ent.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is the usual case
	}
	if err != nil {
		return nil, err
	}
	m, _ := e.Result.(map[string]any)
	level, ok := m[cachedSensitivity].(string)
	value, has := m[cachedValue]
	if !ok || !has {
		return nil, nil //nolint:nilnil // of another version of this program
	}
	return &reusable{entry: e.ID, value: value, sensitivity: enum.Sensitivity(level)}, nil
}

// keep stores a result for reuse, in the unit of work that completes its call.
func keep(ctx context.Context, tx *uow.Tx, t *ent.Tool, x *ent.ToolExecution, value any, level enum.Sensitivity) error {
	if x.CacheKey == nil || t.CacheTTLSeconds <= 0 || t.Version != x.ToolVersion {
		return nil
	}
	return tx.ToolCache.Create().SetToolID(t.ID).SetCacheKey(*x.CacheKey).
		SetResult(map[string]any{cachedValue: value, cachedSensitivity: string(level)}).
		SetExpiresAt(now().Add(time.Duration(t.CacheTTLSeconds)*time.Second)).
		OnConflictColumns(toolcache.FieldToolID, toolcache.FieldCacheKey).
		Update(func(u *ent.ToolCacheUpsert) { u.UpdateResult().UpdateExpiresAt().UpdateUpdatedAt() }).
		Exec(machine(ctx))
}

func (s *Service) countHit(entry uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hits == nil {
		s.hits = map[uuid.UUID]int{}
	}
	s.hits[entry]++
}

// noteHits writes the counted hits down, once a minute; what cannot be written is counted again later.
func (s *Service) noteHits(ctx context.Context) error {
	s.mu.Lock()
	if len(s.hits) == 0 || time.Since(s.noted) < noteHitsEvery {
		s.mu.Unlock()
		return nil
	}
	hits := s.hits
	s.hits, s.noted = nil, time.Now()
	s.mu.Unlock()
	err := s.Store.Do(authz.With(ctx, authz.Sweeper), func(ctx context.Context, tx *uow.Tx) error {
		for id, n := range hits {
			if err := tx.ToolCache.Update().Where(toolcache.ID(id)).AddHitCount(n).SetLastHitAt(now()).Exec(machine(ctx)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.mu.Lock()
		for id, n := range s.hits {
			hits[id] += n
		}
		s.hits = maps.Clone(hits)
		s.mu.Unlock()
	}
	return err
}
