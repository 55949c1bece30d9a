package main

import "github.com/spf13/cobra"

func newBench(*program) *cobra.Command { return &cobra.Command{Use: "bench", GroupID: "look"} }
