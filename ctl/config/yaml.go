package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"vtepd/ctl/model"
)

const (
	// maxDepth bounds brackets inside brackets. The file needs three levels.
	maxDepth = 8
	// maxKeys bounds the keys of one mapping, of which the file's own take at most 23: the parser's time grows with their square (31 s for 95,000
	// keys, goccy/go-yaml 1.19.2).
	maxKeys = 64
)

// decoder walks the syntax tree of one file and fills a model.
type decoder struct {
	file   string
	data   []byte
	model  *model.Model
	places map[string]place
	trunks trunkPlaces
}

// CheckText refuses what is no UTF-8, or has characters that no text file has. It is for who sends a file on in a way that would replace them.
func CheckText(file string, data []byte) error {
	if i := invalidByte(data); i >= 0 {
		d := &decoder{file: file, data: data}
		return d.errorAt(placeOf(data, i), "byte 0x%02x does not belong into a text file: write UTF-8", data[i])
	}
	return nil
}

// root parses data and returns the mapping at its top; nil when the file is empty.
func (d *decoder) root(data []byte) (root ast.Node, err error) {
	d.data = data
	if err := CheckText(d.file, data); err != nil {
		return nil, err
	}
	// The lexer passes over a tag that ends with the text (goccy/go-yaml 1.19.2): "!" alone would be an empty file.
	tokens := lexer.Tokenize(string(data) + "\n")
	if err := d.plain(tokens); err != nil {
		return nil, err
	}
	defer func() {
		// The parser is someone else's: whatever file brings it down is refused like one that it refuses.
		if r := recover(); r != nil {
			root, err = nil, &Error{File: d.file, Msg: "cannot be understood as YAML: check indentation, brackets and quotes"}
		}
	}()
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, d.syntax(err)
	}
	var docs []ast.Node
	for _, doc := range file.Docs {
		if doc != nil && doc.Body != nil && doc.Body.Type() != ast.CommentGroupType {
			docs = append(docs, doc.Body)
		}
	}
	switch len(docs) {
	case 0:
		return nil, nil
	case 1:
		return docs[0], nil
	}
	return nil, d.errorAt(d.at(docs[1]), "a second document: a configuration is one document, so remove the --- and merge them")
}

// invalidByte finds what is neither UTF-8 nor allowed in YAML text (YAML 1.2.2 section 5.1); -1 when there is nothing.
func invalidByte(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return i
		}
		i += n
	}
	return -1
}

func placeOf(data []byte, i int) place {
	before := string(data[:i])
	line := strings.Count(before, "\n")
	return place{line + 1, len(before) - strings.LastIndexByte(before, '\n')}
}

// plain refuses the parts of YAML that the file has no use for, and nesting that would take the parser deep.
func (d *decoder) plain(tokens token.Tokens) error {
	depth, entries, documents := 0, 0, 0
	var keys keyCounter
	var empty emptyCounter
	for _, t := range tokens {
		if t.Type != token.SequenceEntryType || t.Prev != nil && t.Prev.Position.Line != t.Position.Line {
			entries = 0
		}
		if t.Type == token.SequenceEntryType {
			entries++
		}
		what := ""
		if keys.count(t, depth) > maxKeys {
			what = "too many keys in one mapping: no mapping of this file has so many"
		}
		if len(keys.block) > maxDepth {
			what = "mappings nested too deep: no key takes more than a list of mappings"
		}
		if empty.count(t) > maxEmpty {
			what = fmt.Sprintf("more than %d elements and keys without value up to here: write the values, or remove them", maxEmpty)
		}
		switch t.Type {
		case token.DocumentHeaderType:
			if documents++; documents > maxDocuments {
				what = "too many documents: a configuration is one document, so remove every --- and merge them"
			}
		case token.AnchorType, token.AliasType:
			what = "anchors and aliases are not part of this file's language: write the value out"
		case token.MergeKeyType:
			what = "merge keys are not part of this file's language: write the values out"
		case token.TagType:
			what = "tags are not part of this file's language: remove the tag"
		case token.DirectiveType:
			what = "directives are not part of this file's language: remove the line"
		case token.MappingKeyType:
			what = "? keys are not part of this file's language: write KEY: VALUE"
		case token.LiteralType, token.FoldedType:
			what = "a block of text: no key takes one, so write the value on one line"
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxDepth {
				what = "brackets nested too deep: no key takes more than a list of mappings"
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		}
		if entries > maxDepth {
			what = "lists nested too deep: no key takes more than a list of mappings"
		}
		if what != "" {
			return d.errorAt(tokenPlace(t), "%s", what)
		}
	}
	return nil
}

// keyCounter counts the keys of the mapping that a token is in, nearly enough to bound them.
type keyCounter struct {
	// block counts by the column of the keys, flow the keys since the last opening brace.
	block map[int]int
	flow  int
}

func (k *keyCounter) count(t *token.Token, depth int) int {
	switch t.Type {
	case token.MappingStartType:
		k.flow = 0
	case token.SequenceEntryType:
		k.leave(t.Position.Column)
	case token.MappingValueType:
		if depth > 0 {
			k.flow++
			return k.flow
		}
		if t.Prev == nil {
			return 0
		}
		column := t.Prev.Position.Column
		k.leave(column)
		if k.block == nil {
			k.block = map[int]int{}
		}
		k.block[column]++
		return k.block[column]
	}
	return 0
}

// leave ends the mappings that are further to the right.
func (k *keyCounter) leave(column int) {
	for c := range k.block {
		if c > column {
			delete(k.block, c)
		}
	}
}

// syntax makes one line of a parser's error.
func (d *decoder) syntax(err error) error {
	type located interface{ GetToken() *token.Token }
	var msg string
	if m, ok := err.(interface{ GetMessage() string }); ok {
		// Its Error() prints the whole file to show the place: minutes for a MiB.
		msg = m.GetMessage()
	} else {
		msg = err.Error()
	}
	msg, _, _ = strings.Cut(msg, "\n")
	if l, ok := err.(located); ok && l.GetToken() != nil {
		at := tokenPlace(l.GetToken())
		// Inside brackets a tab may stand before anything: the parser has to have taken offence at it.
		line, _ := d.line(at.line)
		if tabColumn(line) > 0 && (strings.Contains(msg, "'\t'") || strings.Contains(msg, "tab character")) {
			return d.errorAt(place{at.line, tabColumn(line)}, "syntax: tabs cannot indent YAML: use spaces")
		}
		hint := d.quoteHint(at.line)
		// The parser takes offence at the line before the one that is out of line, or at that.
		if hint == "" && strings.Contains(msg, "not allowed in this context") && !bytes.ContainsAny(line, "[]{}") {
			hint = ": the keys of one element start in one column: compare this line with the next and the one before"
		}
		return d.errorAt(at, "syntax: %s%s", msg, hint)
	}
	return &Error{File: d.file, Msg: "syntax: " + msg}
}

// tabColumn is where a line has a tab in its indentation, which the dashes of list elements are part of; 0 for nowhere.
func tabColumn(line []byte) int {
	indent := line[:len(line)-len(bytes.TrimLeft(line, "\t -"))]
	return bytes.IndexByte(indent, '\t') + 1
}

func tokenPlace(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{1, 1}
	}
	return place{t.Position.Line, t.Position.Column}
}

// at is where a node starts. A mapping's own token is its first colon, so its first key is asked.
func (d *decoder) at(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return d.at(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return d.at(n.Key)
	}
	return tokenPlace(n.GetToken())
}

func (d *decoder) errorAt(p place, format string, args ...any) error {
	return &Error{File: d.file, Line: p.line, Column: p.column, Msg: fmt.Sprintf(format, args...)}
}

func (d *decoder) errorf(n ast.Node, format string, args ...any) error {
	return d.errorAt(d.at(n), format, args...)
}

// field is one key that a mapping takes.
type field struct {
	name   string
	decode func(n ast.Node) error
}

// pairs are the keys and values of a mapping. Empty values are kept.
func (d *decoder) pairs(n ast.Node, what string) ([]*ast.MappingValueNode, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	}
	return nil, d.errorf(n, "%s is %s: expected KEY: VALUE pairs", what, kind(n))
}

// find is the value of a key of a mapping, nil when the mapping does not have it.
func find(pairs []*ast.MappingValueNode, key string) ast.Node {
	for _, p := range pairs {
		if keyText(p) == key {
			return p.Value
		}
	}
	return nil
}

func keyText(p *ast.MappingValueNode) string {
	t := p.Key.GetToken()
	if t == nil {
		return ""
	}
	return t.Value
}

// mapping decodes the pairs of a mapping in the order of the file. path is what the places of its values are recorded under, with a / at its end when
// not empty.
func (d *decoder) mapping(pairs []*ast.MappingValueNode, path string, fields []field) error {
	seen := map[string]place{}
	for _, p := range pairs {
		key, at := keyText(p), d.at(p.Key)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if i < 0 {
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.name
			}
			return d.errorAt(at, "unknown key %q%s", shorten(key), model.Expected(key, names))
		}
		if first, twice := seen[key]; twice {
			return d.errorAt(at, "key %q is doubled: first on line %d, so remove one", key, first.line)
		}
		seen[key] = at
		if p.Value == nil || p.Value.Type() == ast.NullType {
			return d.errorAt(at, "%s has no value: write one, or remove the key", key)
		}
		d.places[path+key] = d.at(p.Value)
		if err := fields[i].decode(p.Value); err != nil {
			return err
		}
	}
	return nil
}

// list calls item for every element of a sequence.
func (d *decoder) list(n ast.Node, key string, item func(n ast.Node) error) error {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return d.errorf(n, "%s is %s: expected a list", key, kind(n))
	}
	for _, v := range seq.Values {
		if v == nil || v.Type() == ast.NullType {
			at := d.at(n)
			if v != nil {
				at = d.at(v)
			}
			return d.errorAt(at, "%s has an empty element: remove it", key)
		}
		if err := item(v); err != nil {
			return err
		}
	}
	return nil
}

// text is a scalar as written.
func (d *decoder) text(n ast.Node, key string) (string, error) {
	switch n.Type() {
	case ast.StringType, ast.IntegerType, ast.FloatType, ast.BoolType, ast.InfinityType, ast.NanType:
		return n.GetToken().Value, nil
	}
	if word := d.colonWordAt(d.at(n)); word != "" {
		return "", d.errorf(n, "%s: %s is a mapping here, for its colons: quote it: %q", key, shorten(word), shorten(word))
	}
	return "", d.errorf(n, "%s is %s: expected one value", key, kind(n))
}

// scalar decodes one value with a parser of package model.
func scalar[T any](d *decoder, key string, parse func(string) (T, error), store func(T)) field {
	return field{key, func(n ast.Node) error {
		v, err := value(d, n, key, parse)
		if err == nil {
			store(v)
		}
		return err
	}}
}

func value[T any](d *decoder, n ast.Node, key string, parse func(string) (T, error)) (T, error) {
	var zero T
	text, err := d.text(n, key)
	if err != nil {
		return zero, err
	}
	switch any(zero).(type) {
	case int, uint16, uint32:
		if t := n.GetToken().Type; t == token.SingleQuoteType || t == token.DoubleQuoteType {
			return zero, d.errorf(n, "%s: %q is quoted, which makes it text: write %s", key, shorten(text), shorten(text))
		}
	}
	v, err := parse(text)
	if err != nil {
		return zero, d.errorf(n, "%s: %v", key, err)
	}
	return v, nil
}

// kind is what a node is, in words.
func kind(n ast.Node) string {
	switch n.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	case ast.NullType:
		return "empty"
	case ast.StringType, ast.IntegerType, ast.FloatType, ast.BoolType, ast.InfinityType, ast.NanType:
		return "a single value"
	}
	return "of a kind that does not belong here"
}

func shorten(s string) string {
	if len(s) > 64 {
		return s[:61] + "..."
	}
	return s
}
