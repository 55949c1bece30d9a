#!/usr/bin/env bash
# Writes onnx.pb.go from onnx.proto. protoc comes from the PyPI package grpcio-tools, the Go plugin from the module in go.mod,
# so that generated code and runtime have one version. Run by `go generate ./models/onnxpb`; not part of the build.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet grpcio-tools==1.85.1
go build -o "$work/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
PATH="$work:$PATH" "$work/venv/bin/python" -m grpc_tools.protoc -I. --go_out=. --go_opt=paths=source_relative \
  --go_opt=Monnx.proto=github.com/wal2vec/wal2vec/models/onnxpb onnx.proto
