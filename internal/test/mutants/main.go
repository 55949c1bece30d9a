package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

type options struct {
	only    *regexp.Regexp
	jobs    int
	list    bool
	verbose bool
}

func parse(args []string) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	flags.StringVar(&only, "only", "", "a regular expression: run the rules and mutants whose name it finds")
	flags.IntVar(&o.jobs, "j", max(1, runtime.NumCPU()/2), "how many mutants to run at once")
	flags.BoolVar(&o.list, "list", false, "print the table and run nothing")
	flags.BoolVar(&o.verbose, "v", false, "print what the tests print")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	o.only, err = regexp.Compile(only)
	return o, err
}

// run runs the chosen mutants, prints the table and one line of JSON, and fails unless each of them
// is caught.
func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	root, err := findRoot()
	if err != nil {
		return err
	}
	chosen := choose(table(), o.only)
	if o.list {
		printTable(out, chosen, nil)
		return nil
	}
	r := &runner{root: root, verbose: func(string, ...any) {}}
	if o.verbose {
		r.verbose = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	}
	begun := time.Now()
	var all []mutant
	for _, rule := range chosen {
		all = append(all, rule.mutants...)
	}
	fmt.Fprintf(out, "%d mutants; first their tests on the program as it is\n", len(all))
	if err := r.baseline(ctx, all); err != nil {
		return err
	}
	results := tryAll(ctx, r, all, o.jobs, out)
	printTable(out, chosen, results)
	return summarise(out, results, time.Since(begun))
}

// findRoot returns the checkout that holds the working directory.
func findRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the checkout: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		above := filepath.Dir(folder)
		if above == folder {
			return "", errors.New("run it inside the checkout")
		}
		folder = above
	}
}

// choose keeps the rules whose name the expression finds, and of the others the mutants.
func choose(rules []rule, only *regexp.Regexp) []rule {
	var out []rule
	for _, rule := range rules {
		if !only.MatchString(rule.name) {
			var mutants []mutant
			for _, m := range rule.mutants {
				if only.MatchString(m.name) {
					mutants = append(mutants, m)
				}
			}
			rule.mutants = mutants
		}
		if len(rule.mutants) > 0 {
			out = append(out, rule)
		}
	}
	return out
}

// tryAll runs mutants, some at once, and says of each what became of it.
func tryAll(ctx context.Context, r *runner, mutants []mutant, jobs int, out io.Writer) map[string]result {
	results := make(map[string]result, len(mutants))
	var mu sync.Mutex
	var group sync.WaitGroup
	next := make(chan mutant)
	for range jobs {
		group.Go(func() {
			for m := range next {
				got := r.try(ctx, m)
				mu.Lock()
				results[m.name] = got
				fmt.Fprintf(out, "%-10s %5.1f s  %s\n", got.outcome, got.took.Seconds(), m.name)
				if got.detail != "" {
					fmt.Fprintf(out, "    %s\n", strings.ReplaceAll(strings.TrimSpace(got.detail), "\n", "\n    "))
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range mutants {
		next <- m
	}
	close(next)
	group.Wait()
	return results
}

// printTable prints for each rule its mutants and their tests, with what became of them when
// results has them.
func printTable(out io.Writer, rules []rule, results map[string]result) {
	for _, rule := range rules {
		fmt.Fprintf(out, "\n%s: %s\n", rule.name, rule.says)
		for _, m := range rule.mutants {
			fmt.Fprintf(out, "  %-10s %s\n", results[m.name].outcome, m.name)
			if m.equivalent != "" {
				fmt.Fprintf(out, "             equivalent: %s\n", m.equivalent)
			}
			for _, test := range m.fails {
				fmt.Fprintf(out, "             %s\n", test)
			}
		}
	}
	fmt.Fprintln(out)
}

func summarise(out io.Writer, results map[string]result, took time.Duration) error {
	counts := make(map[outcome]int)
	for _, r := range results {
		counts[r.outcome]++
	}
	line, err := json.Marshal(map[string]int{
		"mutants": len(results), "caught": counts[caught], "equivalent": counts[equivalent], "survived": counts[survived],
		"broken": counts[broken], "seconds": int(took.Seconds()),
	})
	if err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	fmt.Fprintf(out, "%s\n", line)
	if n := counts[survived] + counts[broken]; n > 0 {
		return fmt.Errorf("%d of %d mutants are not caught", n, len(results))
	}
	return nil
}
