//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Marks that are no ratio.
const (
	mostStatements    = 5
	mostPerConnection = 20 << 10 // bytes
	mostIdle          = 60_000_000
)

type report struct {
	bin        string
	results    []result
	statements int
	memory     memory
	identity   identity
	took       time.Duration
}

// add takes a result and tells of it at once: a run takes minutes.
func (r *report) add(res result) {
	r.results = append(r.results, res)
	fmt.Printf("%-18s %.2f (mark %s)\n", res.name, res.ratio(), res.markText())
}

func (r *report) ok() bool {
	for _, res := range r.results {
		if res.ratio() < res.mark {
			return false
		}
	}
	if i := r.identity; i.byID > 0 && (i.share() > mostAuthentication || i.factor() > mostStormFactor) {
		return false
	}
	return r.statements <= mostStatements && r.memory.perConnection <= mostPerConnection && r.memory.idle <= mostIdle
}

func (r result) markText() string {
	if r.mark == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", r.mark)
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

// table is all that was measured, in Markdown.
func (r *report) table() string {
	var b strings.Builder
	b.WriteString("| work | server / floor | slices | mark | | requests per CPU-second: server, floor | CPU µs a request: server + database | floor + database |\n|---|---|---|---|---|---|---|---|\n")
	for _, res := range r.results {
		s, f := res.sides[serverSide], res.sides[floorSide]
		sp, sd := s.perCall()
		fp, fd := f.perCall()
		fmt.Fprintf(&b, "| %s: %s | %.2f | %.2f-%.2f | %s | %s | %.0f, %.0f | %.1f + %.1f | %.1f + %.1f |\n", res.name, res.what, res.ratio(), slices.Min(res.pairs), slices.Max(res.pairs), res.markText(),
			verdict(res.ratio() >= res.mark), s.rate(), f.rate(), micros(sp), micros(sd), micros(fp), micros(fd))
	}
	b.WriteString("\n| size | measured | mark | |\n|---|---|---|---|\n")
	fmt.Fprintf(&b, "| SQL statements of the sessions query, authentication included | %d | %d | %s |\n", r.statements, mostStatements, verdict(r.statements <= mostStatements))
	fmt.Fprintf(&b, "| resident memory a websocket at %d idle subscriptions | %.1f KiB | %d KiB | %s |\n", idleSubscribers, float64(r.memory.perConnection)/1024, mostPerConnection>>10, verdict(r.memory.perConnection <= mostPerConnection))
	fmt.Fprintf(&b, "| resident memory of an idle server | %.1f MB | %d MB | %s |\n", float64(r.memory.idle)/1e6, mostIdle/1_000_000, verdict(r.memory.idle <= mostIdle))
	if r.identity.byID > 0 {
		b.WriteString(r.identity.lines())
	}
	return b.String()
}

// lines are the rows of the table of sizes.
func (i identity) lines() string {
	return fmt.Sprintf("| CPU of authentication, of a by-id query's | %.1f µs of %.1f: %.0f %% | %.0f %% | %s |\n| p99 of by-id queries at %d a second during a login storm of %d attempts a second (%d hashed, in %.1f s the median; %d refused) | %.1f ms, %.1f without: %.1f times | %.0f times | %s |\n",
		micros(i.authentication), micros(i.byID), 100*i.share(), 100*mostAuthentication, verdict(i.share() <= mostAuthentication),
		queryRate, attemptRate, len(i.hashed), i.median().Seconds(), i.refused, float64(i.storm.Microseconds())/1000, float64(i.quiet.Microseconds())/1000, i.factor(), mostStormFactor, verdict(i.factor() <= mostStormFactor))
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func (r *report) document() string {
	size := ""
	if i, err := os.Stat(r.bin); err == nil {
		size = fmt.Sprintf(", program %.0f MB", float64(i.Size())/1e6)
	}
	return fmt.Sprintf(`# Performance

Written by %[1]smake bench%[1]s on %[2]s: %[3]d CPUs (%[4]s), %[5]s%[6]s. The run took %[7]v. Ratios of one run on one machine can be compared; rates of different machines cannot.

%[8]s
## Method
- **Data**: %[9]d conversations of %[10]d people, %[11]d messages, of which every fifth reports a tool call, %[12]d audit rows with encrypted personal fields; PostgreSQL as %[1]smake run%[1]s starts it (fsync on), analysed.
- **Server**: the built program with its embedded event bus and CDSA_WORKERS=false, so that no answers are written while questions are measured. Authentication, policies, audit and limits are on.
- **Floor** (%[1]sbench/floor%[1]s): net/http and pgx, the same SQL work written by hand, rows to JSON by append. It verifies the bearer token with the server's key and remembers it, writes and opens audit rows with the server's encryption, and answers byte for byte what the server answers. It parses no GraphQL.
- **Driver**: %[13]d clients over kept connections, slices of %[14]v for floor and server in turn, %[15]d pairs, the order turned round each time. Every answer is compared with the one that both gave before the measurement; after each slice of writes the rows of four tables are counted.
- **Requests per CPU-second** = requests / (user + system time of the process and of all database processes), from /proc. The driver's own time is not counted. Column "slices" is the lowest and highest ratio of a pair.
- **message**: bench holds the relay's lock, so that events stay in the outbox on both sides. **message, relayed**: the server relays the events of both sides, and its CPU is counted to both; it publishes its own at once, one after the other, and finds the floor's in batches, which is cheaper; a slice ends when the outbox is empty.
- **audit log**: reading it is audited, on both sides, in a transaction of its own.
- **fan-out**: %[16]d events at a time are committed to the outbox; the relay, the bus, one read of the row for each event, the judgement of every subscriber and the writes are all counted, the database included. The floor writes a gorilla prepared message with the same text to each connection in turn. Every frame's content is checked, and their number.
- **Authentication** is the difference in CPU, database included, between one public field asked with a token and without. **Login storm**: attempts at a steady rate, half of them with a wrong password, each a full argon2id hash unless it is refused for being one too many; times are as the client sees them.
- **Statements** are counted in the database's log. **Memory** is VmRSS of the server's process, without the child that hashes passwords, which runs around sign-ins: of a server 25 s after its start; and 25 s after it started and after %[17]d websockets subscribed and received one event. The server gives unused memory back every 20 s.
`, "`", time.Now().UTC().Format("2006-01-02"), runtime.NumCPU(), cpuModel(), runtime.Version(), size, r.took.Round(time.Second), r.table(),
		people*sessionsEach, people, people*sessionsEach*messagesEach, auditRows, clients, sliceTime, slicePairs, burst, idleSubscribers)
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}
