package cli

import (
	"context"
	"fmt"

	"vtepd/ctl/api"
	"vtepd/ctl/model"
)

var setObject = &object{
	name:  "set",
	short: "change what concerns the whole switch",
	self: &verb{
		synopsis: "fastpath off|auto|on",
		long: "fastpath lets eBPF programs carry known traffic past user space (auto: where the host can; on: refused where it cannot),\n" +
			"or has every frame pass user space (off). No frame of known traffic is lost by it. It lasts until vtepd stops; the file says what it starts with.",
		examples: []string{"vtepctl set fastpath off", "vtepctl set fastpath auto"},
		words:    []word{{name: "fastpath", values: "off|auto|on", help: "who carries known traffic", parse: valid(model.ParseFastPath)}},
		check: func(a *args) error {
			if len(a.values) == 0 {
				return fmt.Errorf("nothing to change: name at least one word")
			}
			return nil
		},
		run: func(ctx context.Context, app *App, a *args) error {
			return app.client.SetSettings(ctx, api.Settings{FastPath: a.get("fastpath")})
		},
	},
}
