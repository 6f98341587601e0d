package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vtepd/ctl/client"
)

// completionTimeout bounds how long a shell waits for names from vtepd.
const completionTimeout = 500 * time.Millisecond

// allObjects lists the objects in the order of help.
func allObjects() []*object {
	return []*object{statusObject, fdbObject, vniObject, peerObject, portObject, vlanObject, statsObject, dropsObject, doctorObject, traceObject, monitorObject, captureObject, setObject, batchObject(), applyObject, completionObject()}
}

func objectNames() []string {
	var names []string
	for _, o := range allObjects() {
		names = append(names, o.name)
	}
	return names
}

func (o *object) verbNames() []string {
	var names []string
	for _, v := range o.verbs {
		names = append(names, v.name)
	}
	return names
}

// tree makes cobra's commands of the objects. Cobra finds commands, helps and completes; the words after a verb are ours.
func (a *App) tree() *cobra.Command {
	root := &cobra.Command{
		Use:               "vtepctl",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.Flags().AddFlagSet(a.globalFlags())
	root.TraverseChildren = true
	root.SetHelpFunc(func(*cobra.Command, []string) { a.rootHelp() })
	for _, o := range allObjects() {
		var cmd *cobra.Command
		if o.self == nil {
			show := o.verbs[0]
			cmd = a.command(o.name, show, o.name+" "+show.name)
			cmd.ValidArgsFunction = nil
			for _, v := range o.verbs {
				sub := a.command(v.name, v, o.name+" "+v.name)
				sub.SetHelpFunc(func(*cobra.Command, []string) { a.verbHelp(o.name+" "+v.name, v) })
				cmd.AddCommand(sub)
			}
			cmd.SetHelpFunc(func(*cobra.Command, []string) { a.objectHelp(o) })
		} else {
			cmd = a.command(o.name, o.self, o.name)
			cmd.SetHelpFunc(func(*cobra.Command, []string) { a.verbHelp(o.name, o.self) })
		}
		cmd.Short = o.short
		root.AddCommand(cmd)
	}
	return root
}

func (a *App) command(name string, v *verb, path string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Short:              v.short,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, tokens []string) error {
			in, err := v.parse(path, tokens)
			if err != nil {
				return err
			}
			return v.run(cmd.Context(), a, in)
		},
		ValidArgsFunction: func(cmd *cobra.Command, tokens []string, _ string) ([]string, cobra.ShellCompDirective) {
			ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
			defer cancel()
			if v.file(tokens) {
				return nil, cobra.ShellCompDirectiveDefault
			}
			// Not before: cobra has read --socket by now.
			a.client = client.New(a.socket)
			defer a.client.Close()
			return v.complete(ctx, a, tokens), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// shells are those that have a completion script.
var shells = []string{"bash", "zsh", "fish"}

// parseShell does without the hint at a near word: ksh is no zsh mistyped.
func parseShell(s string) error {
	if !slices.Contains(shells, s) {
		return fmt.Errorf("there is no script for %q: expected one of %s", shorten(s), strings.Join(shells, ", "))
	}
	return nil
}

// completionObject is made anew each time: its script lists every object, itself included.
func completionObject() *object {
	return &object{
		name:  "completion",
		short: "completion script for a shell",
		self: &verb{
			synopsis: "bash|zsh|fish",
			long:     "Prints a script that teaches a shell to complete the words of vtepctl, names of ports and VNIs included.",
			examples: []string{
				"source <(vtepctl completion bash)",
				"vtepctl completion zsh > \"${fpath[1]}/_vtepctl\"",
				"vtepctl completion fish > ~/.config/fish/completions/vtepctl.fish",
			},
			subject: &subject{name: "SHELL", what: "bash, zsh or fish", required: true, parse: parseShell,
				complete: func(context.Context, *App) []string { return shells }},
			run: func(_ context.Context, app *App, a *args) error {
				root := app.tree()
				switch a.subject() {
				case "bash":
					return root.GenBashCompletionV2(app.Stdout, true)
				case "zsh":
					return root.GenZshCompletion(app.Stdout)
				}
				return root.GenFishCompletion(app.Stdout, true)
			},
		},
	}
}

func (a *App) rootHelp() {
	w := a.Stdout
	fmt.Fprint(w, `vtepctl - look at and change a running vtepd

usage: vtepctl [OPTIONS] OBJECT [VERB] [WORDS]

Objects and verbs may be abbreviated while that is unambiguous (vtepctl f s); without a verb, show is
meant. Words with their values come in any order.

Objects:
`)
	var rows [][]string
	for _, o := range allObjects() {
		rows = append(rows, []string{"  " + o.name, o.short, strings.Join(o.verbNames(), " ")})
	}
	plainTable(w, rows)
	fmt.Fprint(w, "\nOptions, which come first:\n")
	fmt.Fprint(w, a.flagSet.FlagUsages())
	fmt.Fprint(w, `
Exit codes: 0 done, 1 refused or not found, 2 usage, 3 no vtepd at the socket.

Examples:
  vtepctl fdb show vni 42
  vtepctl fdb add 02:00:00:00:00:09 vni 42 dst 192.0.2.2
  vtepctl port add tap1 vni 42
  vtepctl -jp status

Help on an object or verb: vtepctl help fdb, vtepctl help fdb add.
`)
}

func (a *App) objectHelp(o *object) {
	w := a.Stdout
	fmt.Fprintf(w, "vtepctl %s - %s\n\n", o.name, o.short)
	if o.long != "" {
		fmt.Fprintf(w, "%s\n\n", o.long)
	}
	for _, v := range o.verbs {
		fmt.Fprintf(w, "  vtepctl %s\n", strings.TrimSpace(o.name+" "+v.name+" "+v.synopsis))
	}
	var rows [][]string
	for _, v := range o.verbs {
		rows = append(rows, []string{"  " + v.name, v.short})
	}
	fmt.Fprint(w, "\nVerbs:\n")
	plainTable(w, rows)
	fmt.Fprintf(w, "\nMore: vtepctl help %s VERB.\n", o.name)
}

func (a *App) verbHelp(path string, v *verb) {
	w := a.Stdout
	if v.short != "" {
		fmt.Fprintf(w, "vtepctl %s - %s\n\n", path, v.short)
	}
	fmt.Fprintf(w, "usage: %s\n", strings.TrimSpace("vtepctl "+path+" "+v.synopsis))
	if v.long != "" {
		fmt.Fprintf(w, "\n%s\n", v.long)
	}
	var rows [][]string
	if v.subject != nil {
		rows = append(rows, []string{"  " + v.subject.name, v.subject.what})
	}
	for _, word := range v.words {
		rows = append(rows, []string{"  " + strings.TrimSpace(word.name+" "+word.values), word.help})
	}
	if len(rows) > 0 {
		fmt.Fprint(w, "\nWords:\n")
		plainTable(w, rows)
	}
	if len(v.examples) > 0 {
		fmt.Fprint(w, "\nExamples:\n")
		for _, e := range v.examples {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
}

// plainTable aligns columns of help.
func plainTable(w io.Writer, rows [][]string) {
	t := table{}
	for _, r := range rows {
		t.row(r...)
	}
	t.print(w)
}
