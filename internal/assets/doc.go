// Package assets finds the files that a build does not contain: ONNX Runtime, the models and a
// PostgreSQL for demo and tests ("make parts" brings them), and the folder for graphs that are made
// from models. What is found there is loaded and run, so a folder is named by its whole path, and a
// model that the sink names is opened only where the settings name it, too.
//
// It fetches nothing and loads nothing.
package assets
