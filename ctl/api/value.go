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
				return fmt.Errorf("%s in a list: expected strings and numbers", raw)
			}
		}
		*v = "none"
		if len(list) > 0 {
			*v = Value(strings.Join(words, ","))
		}
	default:
		return fmt.Errorf("expected a number, a string, true, false or null")
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
	return json.Unmarshal(b, (*[]string)(l))
}
