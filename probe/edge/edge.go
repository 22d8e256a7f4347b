// Package edge asks through an Envoy by HTTP, gRPC and TCP, where the target says all.
package edge
