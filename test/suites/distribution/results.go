package main

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// results are what came of the tests. A test makes several checks; it failed if one did.
type results struct {
	checks, failed, skipped int
	failures                map[string]string // what was wrong, by test
}

// readReport reads the tests' report, which is as JUnit writes it.
func readReport(path string) (*results, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Name   string `xml:"name,attr"`
				Status string `xml:"status,attr"` // passed, skipped, failure, error, disabled
				Said   string `xml:"system-out"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &report); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	r := &results{failures: map[string]string{}}
	for _, s := range report.Suites {
		for _, c := range s.Cases {
			r.checks++
			_, name, _ := strings.Cut(c.Name, "/") // the first part is the suite's
			switch c.Status {
			case "failure", "error":
				r.failed++
				r.failures[name] = strings.TrimSpace(c.Said)
			case "skipped", "disabled":
				r.skipped++
			}
		}
	}
	if r.checks == 0 {
		return nil, fmt.Errorf("%s has no tests", path)
	}
	return r, nil
}

// readExpected reads the reasons by test: lines of TEST: REASON.
func readExpected(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	want := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if line := strings.TrimSpace(s.Text()); line != "" && !strings.HasPrefix(line, "#") {
			name, reason, ok := strings.Cut(line, ": ")
			if !ok {
				return nil, fmt.Errorf("%s: %q has no reason", path, line)
			}
			want[name] = reason
		}
	}
	return want, nil
}

// compare tells what is not as expected.
func (r *results) compare(want map[string]string) error {
	fmt.Printf("%d checks: %d passed, %d failed (of %d tests), %d skipped\n", r.checks, r.checks-r.failed-r.skipped, r.failed, len(r.failures), r.skipped)
	bad := false
	for _, name := range slices.Sorted(maps.Keys(r.failures)) {
		if _, ok := want[name]; !ok {
			bad = true
			fmt.Printf("fails and is not expected to: %s\n\t%s\n", name, strings.ReplaceAll(r.failures[name], "\n", "\n\t"))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := r.failures[name]; !ok {
			bad = true
			fmt.Printf("passes and is expected to fail: %s\n", name)
		}
	}
	if bad {
		return errors.New("not as test/suites/distribution/expected.txt has it")
	}
	return nil
}
