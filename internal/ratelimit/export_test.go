package ratelimit

// Remembered is how many buckets there are.
func (l *Limiter) Remembered() (n int) {
	for t := range l.tables {
		for i := range l.tables[t] {
			n += len(l.tables[t][i].young) + len(l.tables[t][i].old)
		}
	}
	return n
}
