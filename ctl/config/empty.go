package config

import "github.com/goccy/go-yaml/token"

const (
	// maxEmpty bounds elements and keys without value, each of which is a mistake: the parser moves everything behind one to put a null there (28 s for
	// 350,000 elements, goccy/go-yaml 1.19.2).
	maxEmpty = 1000
	// maxDocuments bounds documents in a file, which is one: the parser's time grows with their square (107 s for 170,000 documents).
	maxDocuments = 64
)

// emptyCounter counts elements and keys that have no value.
type emptyCounter struct {
	// last are the two tokens before, the nearer one first, comments left out.
	last [2]*token.Token
	// open are the brackets around, the outermost first.
	open  []token.Type
	empty int
}

func (e *emptyCounter) count(t *token.Token) int {
	if t.Type == token.CommentType {
		return e.empty
	}
	if e.endsEmpty(t) {
		e.empty++
	}
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		e.open = append(e.open, t.Type)
	case token.MappingEndType, token.SequenceEndType:
		e.open = e.open[:max(0, len(e.open)-1)]
	}
	e.last = [2]*token.Token{t, e.last[0]}
	return e.empty
}

// endsEmpty says whether what ended where t begins has no value.
func (e *emptyCounter) endsEmpty(t *token.Token) bool {
	before, start := e.last[0], e.last[1]
	switch {
	case before == nil:
		return false
	case len(e.open) == 0:
		if t.Position.Line == before.Position.Line {
			return false
		}
		switch before.Type {
		case token.SequenceEntryType:
			return t.Position.Column <= before.Position.Column
		case token.MappingValueType:
			// A list may stand as far to the left as its key.
			return start != nil && (t.Position.Column < start.Position.Column || t.Position.Column == start.Position.Column && t.Type != token.SequenceEntryType)
		}
		return false
	case t.Type != token.CollectEntryType && t.Type != token.MappingEndType && t.Type != token.SequenceEndType:
		return false
	}
	switch before.Type {
	case token.MappingValueType:
		return true
	case token.MappingStartType, token.MappingEndType, token.SequenceStartType, token.SequenceEndType, token.CollectEntryType:
		return false
	}
	// A word between braces and commas is a key; between brackets it would be an element.
	return e.open[len(e.open)-1] == token.MappingStartType && (start.Type == token.MappingStartType || start.Type == token.CollectEntryType)
}
