package main

import "github.com/spf13/cobra"

func newDemo(*program) *cobra.Command { return &cobra.Command{Use: "demo", GroupID: "work"} }
