package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Default is the Value that goes back to the level above; JSON null is read as this.
const Default Value = "default"

// Value is a scalar setting: absent when empty. In JSON it may be a number, a boolean or a string; numbers are written as numbers.
type Value string

// MarshalJSON writes a whole number as a number, anything else as a string.
func (v Value) MarshalJSON() ([]byte, error) {
	if n, err := strconv.ParseUint(string(v), 10, 63); err == nil && strconv.FormatUint(n, 10) == string(v) {
		return []byte(v), nil
	}
	return json.Marshal(string(v))
}

// UnmarshalJSON reads a number, a boolean, a string, a list of strings and numbers, which is written with commas between and none when it is empty, or null
// for Default.
func (v *Value) UnmarshalJSON(b []byte) error {
	switch {
	case bytes.Equal(b, []byte("null")):
		*v = Default
	case bytes.Equal(b, []byte("true")), bytes.Equal(b, []byte("false")):
		*v = Value(b)
	case len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9'):
		*v = Value(b)
	case len(b) > 0 && b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		if s == "" {
			return fmt.Errorf("an empty string is no value: leave the key away, or write null for the default")
		}
		*v = Value(s)
	case len(b) > 0 && b[0] == '[':
		var list []json.RawMessage
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		words := make([]string, len(list))
		for i, raw := range list {
			if raw[0] >= '0' && raw[0] <= '9' {
				words[i] = string(raw)
			} else if err := json.Unmarshal(raw, &words[i]); err != nil || words[i] == "" {
				return elementError(i, raw, "a number or a string")
			}
		}
		*v = "none"
		if len(list) > 0 {
			*v = Value(strings.Join(words, ","))
		}
	default:
		return fmt.Errorf("a JSON object does not fit: expected a number, a string, true, false or null")
	}
	return nil
}

// List is a setting that is a list of strings: absent when nil. In JSON, null and the word default are the empty list.
type List []string

// UnmarshalJSON reads a list of strings, null or the word default.
func (l *List) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) || bytes.Equal(b, []byte(`"`+Default+`"`)) {
		*l = List{}
		return nil
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(b, &raws); err != nil {
		return err
	}
	list := make(List, len(raws))
	for i, raw := range raws {
		// null would leave an empty string behind, and no error.
		if err := json.Unmarshal(raw, &list[i]); err != nil || list[i] == "" {
			return elementError(i, raw, "a string")
		}
	}
	*l = list
	return nil
}

// elementError is about the i-th element of a list, from 0.
func elementError(i int, raw json.RawMessage, want string) error {
	is := "a number"
	switch raw[0] {
	case 'n':
		is = "null"
	case 't', 'f':
		is = "a boolean"
	case '"':
		is = "an empty string"
	case '[':
		is = "a list"
	case '{':
		is = "an object"
	case '-':
		is = "a negative number"
	}
	return fmt.Errorf("element %d of the list is %s: write %s, or leave it away", i+1, is, want)
}
