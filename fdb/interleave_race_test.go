//go:build race

package fdb

func init() { interleaveForTest = interleaving.Store }
