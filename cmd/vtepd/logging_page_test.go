package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestLoggingPage wants docs/logging.md to have each line that is logged, with its level: who alarms on a message looks it up there. Debug is left out, for whoever
// asks for it reads the code.
func TestLoggingPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/logging.md")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		message string
		levels  []string
		begins  bool // the message goes on
	}
	var rows []row
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.Contains(cells[2], "level") || strings.Contains(cells[2], "---") || strings.TrimSpace(cells[2]) == "string" {
			continue
		}
		levels := regexp.MustCompile(`debug|info|warn|error`).FindAllString(cells[2], -1)
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			message, goesOn := strings.CutSuffix(m[1], "...")
			rows = append(rows, row{message, levels, goesOn || strings.Contains(cells[1], "begin with")})
		}
	}
	has := func(message, level string) (found, right bool) {
		for _, exact := range []bool{true, false} {
			for _, r := range rows {
				if exact && r.message != message || !exact && (!r.begins || !strings.HasPrefix(message, r.message)) {
					continue
				}
				for _, l := range r.levels {
					if found = true; l == level || level == "" {
						return true, true
					}
				}
			}
			if found {
				return true, false
			}
		}
		return false, false
	}
	levels := map[string]string{"Info": "info", "Warn": "warn", "Error": "error", "Log": ""}
	logged := 0
	for _, dir := range []string{"dataplane", "ctl", "cmd"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) == 0 {
					return true
				}
				f, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				level, ok := levels[f.Sel.Name]
				on := regexp.MustCompile(`(?i)^log$`)
				switch x := f.X.(type) {
				case *ast.Ident:
					ok = ok && on.MatchString(x.Name)
				case *ast.SelectorExpr:
					ok = ok && on.MatchString(x.Sel.Name)
				default:
					ok = false
				}
				if !ok {
					return true
				}
				for _, a := range call.Args { // the message is the first text
					lit, ok := a.(*ast.BasicLit)
					if !ok || lit.Kind != token.STRING {
						continue
					}
					message, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					logged++
					if found, right := has(message, level); !found {
						t.Errorf("%s: %q is not on docs/logging.md", files.Position(call.Pos()), message)
					} else if !right {
						t.Errorf("%s: %q has another level on docs/logging.md than %s", files.Position(call.Pos()), message, level)
					}
					break
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if logged < 50 {
		t.Errorf("%d lines found in the code, far fewer than there were", logged)
	}
}
