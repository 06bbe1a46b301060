package account

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/auth"
)

// dummyEvery is how long a replica relies on what it knows of how the accounts' passwords are hashed.
const dummyEvery = 10 * time.Minute

// maxDummies bounds the settings of hashes that are told apart.
const maxDummies = 16

// dummies are what is verified for names without a password. A hash keeps the settings of its time until its owner signs
// in again, so after a change of settings accounts differ in the time they take: names without one must differ alike.
type dummies struct {
	mu     sync.Mutex
	loaded time.Time
	known  []dummy
}

// dummy stands for the accounts whose hashes have the same settings.
type dummy struct {
	settings, hash string

	share float64 // of the accounts that no dummy before it stands for
}

// dummyFor is the hash to verify for a login without one: the same for a name each time, and of all names each setting
// has the share that it has of the accounts.
func (s *Service) dummyFor(ctx context.Context, login string) (string, error) {
	known, err := s.knownDummies(ctx)
	if err != nil {
		return "", err
	}
	name, _, ok := auth.NormalizeLogin(login)
	if !ok {
		name = login // no account has it, whatever time it takes
	}
	for _, d := range known {
		// A number of its own for each setting: when accounts leave one, so do names, and others stay.
		drawn := binary.BigEndian.Uint64(s.throttleHash("dummy", d.settings+"|"+name))
		if float64(drawn>>11)/(1<<53) < d.share {
			return d.hash, nil
		}
	}
	return s.cfg.Hasher.Dummy("")
}

// knownDummies are those of settings other than the present ones, read again when they are old.
func (s *Service) knownDummies(ctx context.Context) ([]dummy, error) {
	d := &s.dummies
	d.mu.Lock()
	defer d.mu.Unlock()
	now := s.now()
	if !d.loaded.IsZero() && now.Sub(d.loaded) < dummyEvery {
		return d.known, nil
	}
	known, err := s.countDummies(ctx)
	if err != nil {
		if d.loaded.IsZero() {
			return nil, err
		}
		s.cfg.Log.WarnContext(ctx, "the settings of passwords were not counted anew; those of before are used", "error", err)
		d.loaded = now.Add(time.Minute - dummyEvery)
		return d.known, nil
	}
	d.known, d.loaded = known, now
	return known, nil
}

// countDummies reads them. It goes on when the sign-in that asked is given up: others wait for the same.
func (s *Service) countDummies(ctx context.Context) ([]dummy, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	rows, err := s.cfg.Pool.Query(ctx, `SELECT coalesce(substring(hashed_password FROM '^(.*)\$[^$]*\$[^$]*$'), ''), min(hashed_password), count(*)
		FROM users WHERE hashed_password <> '' GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT $1`, maxDummies)
	if err != nil {
		return nil, fmt.Errorf("count the settings of passwords: %w", err)
	}
	type setting struct {
		name, dummy string
		count       float64
	}
	total := 0.0
	settings, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v setting, err error) {
		var like string
		if err = row.Scan(&v.name, &like, &v.count); err != nil {
			return v, err
		}
		if v.dummy, err = s.cfg.Hasher.Dummy(like); err != nil {
			return setting{}, nil //nolint:nilerr // nobody can sign in with such a hash: no name needs to be like it
		}
		total += v.count
		return v, nil
	})
	if err != nil {
		return nil, fmt.Errorf("count the settings of passwords: %w", err)
	}
	slices.SortFunc(settings, func(a, b setting) int { return cmp.Compare(a.name, b.name) }) // in one order on every replica
	var known []dummy
	for _, v := range settings {
		if v.dummy != "" && s.cfg.Hasher.NeedsRehash(v.dummy) { // the present ones are the rest
			known = append(known, dummy{v.name, v.dummy, v.count / total})
			total -= v.count
		}
	}
	return known, nil
}
