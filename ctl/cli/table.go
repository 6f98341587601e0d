package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"vtepd/ctl/api"
)

// table aligns text in columns. A column whose header starts with > is aligned to the right.
type table struct {
	header []string
	rows   []tableRow
}

type tableRow struct {
	cells []string
	// under are lines below the row, indented.
	under []string
}

func (t *table) row(cells ...string) *tableRow {
	t.rows = append(t.rows, tableRow{cells: cells})
	return &t.rows[len(t.rows)-1]
}

// note adds a line below the last row.
func (t *table) note(format string, a ...any) {
	r := &t.rows[len(t.rows)-1]
	r.under = append(r.under, fmt.Sprintf(format, a...))
}

// print writes the table; one without rows is nothing, as in iproute2.
func (t *table) print(to io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	w := bufio.NewWriter(to)
	defer w.Flush()
	lines := t.rows
	right := map[int]bool{}
	if t.header != nil {
		names := make([]string, len(t.header))
		for i, h := range t.header {
			names[i] = strings.TrimPrefix(h, ">")
			right[i] = names[i] != h
		}
		lines = append([]tableRow{{cells: names}}, lines...)
	}
	var width []int
	for _, r := range lines {
		for i, c := range r.cells {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, r := range lines {
		line := ""
		for i, c := range r.cells {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if right[i] {
				line += pad + c + "  "
			} else {
				line += c + pad + "  "
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
		for _, u := range r.under {
			fmt.Fprintln(w, "    "+u)
		}
	}
}

// printJSON writes one value, on one line or indented.
func (a *App) printJSON(v any) error {
	out := json.NewEncoder(a.Stdout)
	if a.pretty {
		out.SetIndent("", "    ")
	}
	return out.Encode(v)
}

// list prints JSON when that is asked for, and otherwise what text makes of the list.
func list[T any](a *App, items []T, text func()) error {
	if a.json {
		if items == nil {
			items = []T{}
		}
		return a.printJSON(items)
	}
	text()
	return nil
}

// counterLines are counters below a row.
func counterLines(t *table, c *api.Counters) {
	if c == nil {
		return
	}
	t.note("rx %d packets, %d bytes, %d dropped", c.RxPackets, c.RxBytes, c.RxDropped)
	t.note("tx %d packets, %d bytes, %d dropped", c.TxPackets, c.TxBytes, c.TxDropped)
}

// dash stands for nothing in a cell.
func dash(s string) string {
	if s == "" || s == "0" {
		return "-"
	}
	return s
}
