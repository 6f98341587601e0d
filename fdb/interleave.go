//go:build !race

package fdb

func interleave() {}
