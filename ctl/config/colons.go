package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// An address with colons is one value to YAML in some places and a mapping, or nothing at all, in others: that depends on the brackets and braces around it and
// on where its colons are. Who writes one means an address: the mistake is told as what it is, with the quotes that mend it.

// colonText is what may be such an address, with brackets and UDP port, or with a prefix length.
var colonText = regexp.MustCompile(`\[[0-9A-Fa-f:.]+\]:[0-9]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/[0-9]+)?`)

// colonWord is an unquoted address with colons, in the bytes of its line.
type colonWord struct {
	text       string
	start, end int
}

// colonWords finds them in a line, with what may stand around them in a list.
func colonWords(line []byte) (list []colonWord) {
	for _, at := range colonText.FindAllIndex(line, -1) {
		start, end := at[0], at[1]
		if start > 0 && bytes.IndexByte([]byte(" [{,"), line[start-1]) < 0 {
			continue
		}
		text := string(line[start:end])
		if !isColonAddress(text) {
			// The colon of a mapping may be what is too much.
			if text = strings.TrimSuffix(text, ":"); !isColonAddress(text) {
				continue
			}
			end--
		}
		list = append(list, colonWord{text, start, end})
	}
	return list
}

func isColonAddress(s string) bool {
	if _, err := netip.ParseAddrPort(s); err == nil {
		return true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		var p netip.Prefix
		p, err = netip.ParsePrefix(s)
		a = p.Addr()
	}
	return err == nil && a.Is6()
}

// colonWordAt is the address that begins at a place; "" when there is none.
func (d *decoder) colonWordAt(at place) string {
	line, _ := d.line(at.line)
	for _, w := range colonWords(line) {
		if utf8.RuneCount(line[:w.start])+1 == at.column {
			return w.text
		}
	}
	return ""
}

// quoteHint is what to do about a syntax error in a line when quoting the addresses there mends it; else "".
func (d *decoder) quoteHint(n int) string {
	line, offset := d.line(n)
	words := colonWords(line)
	if len(words) == 0 {
		return ""
	}
	mended := bytes.Clone(d.data[:offset])
	end := 0
	for _, w := range words {
		mended = fmt.Appendf(mended, "%s%q", line[end:w.start], w.text)
		end = w.end
	}
	mended = append(mended, d.data[offset+end:]...)
	if !parses(mended) {
		return ""
	}
	return fmt.Sprintf(", for the colons of %s: quote it: %q", shorten(words[0].text), shorten(words[0].text))
}

func parses(data []byte) (ok bool) {
	// As in root: whatever brings the parser down is no YAML.
	defer func() { _ = recover() }()
	var tokens token.Tokens = lexer.Tokenize(string(data))
	_, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	return err == nil
}

// line is a line of the file, from 1, without its comment, and the byte of the file that it begins at.
func (d *decoder) line(n int) (line []byte, offset int) {
	rest := d.data
	for ; n > 1; n-- {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return nil, len(d.data)
		}
		rest = rest[i+1:]
	}
	offset = len(d.data) - len(rest)
	line, _, _ = bytes.Cut(rest, []byte("\n"))
	line, _, _ = bytes.Cut(line, []byte(" #"))
	return line, offset
}
