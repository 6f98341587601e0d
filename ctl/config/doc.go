// Package config reads vtepd's file into a model.Model. It is strict: an unknown or doubled key, a value of the wrong type or out of range, and a
// reference to something undeclared are errors that name file, line and column, say what is wrong and how to mend it.
//
// The language is the plain part of YAML: mappings, sequences and one-line scalars. Anchors, aliases, tags and several documents in a file are
// refused, so that a file cannot expand to more than its size. The package knows nothing of the running switch, and asks neither kernel nor network.
package config
