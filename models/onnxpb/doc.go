// Package onnxpb is ONNX's message format in Go, generated from the project's own definition:
// onnx.proto, unchanged, as the PyPI package onnx 1.23.2 carries it (Copyright (c) ONNX Project
// Contributors, Apache-2.0). It holds no code of ours.
package onnxpb

//go:generate ./generate.sh
