package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker; a plain go build has the module's version or the commit instead.
var version string

type versionReport struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func buildVersion() versionReport {
	r := versionReport{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if r.Version == "" {
			r.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				r.Commit = s.Value
			}
		}
	}
	if r.Version == "" {
		r.Version = "(devel)"
	}
	return r
}

// line is the version for people.
func (r versionReport) line() string {
	return fmt.Sprintf("wal2vec %s (%s, %s/%s)\n", r.Version, r.Go, r.OS, r.Arch)
}

func newVersion(p *program) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", GroupID: "look", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			r := buildVersion()
			if output == "json" {
				return printJSON(p.stdout, r)
			}
			_, err := io.WriteString(p.stdout, r.line())
			return err
		},
	}
	outputFlag(cmd, &output)
	return cmd
}
