// Command testreport reads `go test -json` from standard input and shows what a
// person wants to see: a line a package as it ends, the output of what failed,
// and at the end the failures by name. It exits 1 when anything failed, nothing
// ran, or the stream was cut. Counts go to -counts as "passed failed skipped";
// they are of tests and subtests without subtests, and of packages that failed
// outside their tests (a build, a TestMain).
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is a line of test2json(1), with what the go command adds.
type event struct {
	Action, Package, Test, Output, ImportPath, FailedBuild string
	Elapsed                                                float64 // seconds
}

type result struct {
	output  strings.Builder
	outcome string
	parent  bool // has subtests: not counted
	ran     bool // false: only the part before a slash in a subtest's name
}

type report struct {
	out                     io.Writer
	tests                   map[string]map[string]*result // by package, then test; "" is the package itself
	builds                  map[string]*strings.Builder   // compiler output by import path
	passed, failed, skipped int
	failures                []string
	packages, ended         int
}

func main() {
	counts := flag.String("counts", "", "file that gets a line: passed failed skipped")
	flag.Parse()
	r := newReport(os.Stdout)
	err := r.read(os.Stdin)
	if err == nil && *counts != "" {
		err = r.appendCounts(*counts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	if !r.close() {
		os.Exit(1)
	}
}

func newReport(out io.Writer) *report {
	return &report{out: out, tests: map[string]map[string]*result{}, builds: map[string]*strings.Builder{}}
}

// read consumes the stream. A line that is not JSON (the go command's own
// complaint) is shown as it is.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil {
				r.add(e)
			} else if _, err := r.out.Write(line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the results: %w", err)
		}
	}
}

func (r *report) add(e event) {
	switch e.Action {
	case "build-output":
		b := r.builds[e.ImportPath]
		if b == nil {
			b = &strings.Builder{}
			r.builds[e.ImportPath] = b
		}
		b.WriteString(e.Output)
	case "start":
		r.packages++
	case "run":
		r.at(e.Package, e.Test).ran = true
	case "output":
		r.at(e.Package, e.Test).output.WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.at(e.Package, e.Test).outcome = e.Action
		}
	}
}

func (r *report) at(pkg, test string) *result {
	if r.tests[pkg] == nil {
		r.tests[pkg] = map[string]*result{}
	}
	res := r.tests[pkg][test]
	if res == nil {
		res = &result{}
		r.tests[pkg][test] = res
		if i := strings.LastIndex(test, "/"); i > 0 {
			r.at(pkg, test[:i]).parent = true
		}
	}
	return res
}

// endPackage counts the package's tests and forgets what passed.
func (r *report) endPackage(e event) {
	r.ended++
	var ran, bad int
	for name, res := range r.tests[e.Package] {
		switch {
		case name == "", !res.ran && res.outcome == "":
		case res.outcome == "skip":
			r.skipped++
		case res.outcome == "pass":
			if !res.parent {
				r.passed++
				ran++
			}
		case res.parent && failedBelow(r.tests[e.Package], name): // told by its subtest
		default: // failed, or cut off by a panic or a time limit
			bad++
			r.failures = append(r.failures, e.Package+" "+name)
			fmt.Fprintf(r.out, "--- FAIL %s %s\n%s", e.Package, name, res.output.String())
		}
	}
	if e.Action == "fail" && bad == 0 {
		bad++
		r.failures = append(r.failures, e.Package)
		fmt.Fprintf(r.out, "--- FAIL %s\n%s%s", e.Package, r.build(e.FailedBuild), r.at(e.Package, "").output.String())
	}
	r.failed += bad
	delete(r.tests, e.Package)
	if e.Action != "skip" {
		fmt.Fprintf(r.out, "%-4s %s (%.1f s, %d passed, %d failed)\n", e.Action, e.Package, e.Elapsed, ran, bad)
	}
}

func (r *report) build(importPath string) string {
	if b := r.builds[importPath]; b != nil {
		return b.String()
	}
	return ""
}

func failedBelow(tests map[string]*result, parent string) bool {
	for name, res := range tests {
		if strings.HasPrefix(name, parent+"/") && res.outcome != "pass" && res.outcome != "skip" {
			return true
		}
	}
	return false
}

// close lists the failures and tells whether all is well.
func (r *report) close() bool {
	for pkg := range r.tests { // began, never ended
		r.failed++
		r.failures = append(r.failures, pkg+" (cut off)")
	}
	for _, f := range r.failures {
		fmt.Fprintln(r.out, "failed:", f)
	}
	return r.failed == 0 && r.passed > 0
}

func (r *report) appendCounts(path string) (err error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	_, err = fmt.Fprintf(f, "%d %d %d\n", r.passed, r.failed+len(r.tests), r.skipped)
	return err
}
