// Package cli is vtepctl: the grammar of iproute2 (OBJECT VERB, then words with values in any order) over the control API.
//
// It reads words, calls package client and prints what comes back: aligned text for people, JSON for programs. It knows nothing that the API does not
// say, and holds no state.
package cli
